"""Are the probabilities of a reward model true? Its calibration error, with what mends it.

The score says that the first response of a pair is preferred with p = sigmoid(difference of the scores). Its confidence
is max(p, 1 - p); it is right if the response with the higher score is the preferred one.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlnlp.maths.resampling import (
    CELLS,
    RESAMPLES,
    Interval,
    Values,
    check_values,
    fraction_interval_by_prompt,
    sums_by_prompt,
    times_drawn,
)

MOST_BINS = 15  # Guo et al. 2017
PAIRS_PER_BIN = 50  # at least: with fewer, chance alone makes most of the gaps


@dataclass(frozen=True)
class ReliabilityPoint:
    """Of the pairs whose confidence is about ``confidence``: in which fraction the model is right, ties half."""

    confidence: float
    accuracy: float
    interval: Interval
    pairs: int


def expected_calibration_error(
    differences: Values, outcomes: Values, prompts: NDArray[Any], rng: np.random.Generator
) -> tuple[float, Interval]:
    """How far confidence and accuracy are apart on average, from 0 to 1, and its 95 % confidence interval.

    ``differences`` (N,) are scores of the first response less those of the second, ``outcomes`` (N,) 1 if the first is
    preferred, 0 if the second is, 0.5 for a tie; ``prompts`` (N,) names the prompt of each pair. The mean of
    |accuracy - confidence| over bins of equal mass (Guo et al. 2017, arXiv:1706.04599, equation 3; up to 15 bins, of
    50 or more pairs) is too large, because chance moves the accuracy of a bin either way. What a normal error would
    add is taken off (the debiased estimate of Kumar et al. 2019, arXiv:1909.10155, definition 5.2, for the absolute
    error as in their code; here in closed form, with an error by prompt).

    The interval is of resamples by prompt. Let e be the errors of the bins' gaps, times the bins' weights: what is
    observed is at most the true mean plus the sum of |e|, and at least that plus the sum of e, each with the sign of
    its true gap. The lower end is 0 unless calibrated probabilities would give such gaps in fewer than 2.5 % of the
    cases. A bootstrap of the estimate itself would miss the truth too often, for it is never below 0. With few prompts
    the interval is wider, as Student's t is; of one prompt it is 0 to 1.

    Raises:
        ValueError: the shapes differ or are no vectors, there is no pair, a difference is not finite, or an outcome is
            not within 0 and 1.
    """
    confidence, right, bins = _in_bins(differences, outcomes, prompts)
    gaps, errors = _gaps_and_errors(right - confidence, bins, prompts)
    plain, count = float(np.abs(gaps).sum()), len(errors)
    if count == 1:
        return plain, (0.0, 1.0)
    bessel = math.sqrt(count / (count - 1))
    by_chance = _mean_of_absolute_normal(gaps, bessel * np.sqrt(np.square(errors).sum(0))) - np.abs(gaps)
    from scipy.special import ndtri, stdtrit

    moved = bessel * float(stdtrit(count - 1, 0.975) / ndtri(0.975)) * _resampled_sums(errors, rng)
    low = plain - float(np.quantile(np.abs(moved).sum(1), 0.975))
    high = plain - float(np.quantile(moved @ np.where(gaps < 0, -1.0, 1.0), 0.025))
    return max(0.0, plain - float(by_chance.sum())), (max(0.0, low), min(1.0, high))


def confidence_and_right(differences: Values, outcomes: Values) -> tuple[Values, Values]:
    """max(p, 1 - p), and 1 where the preferred response has the higher score, 0.5 for ties of either. (N,) each.

    Raises:
        ValueError: the shapes differ or are no vectors, there is no pair, a difference is not finite, or an outcome is
            not within 0 and 1.
    """
    check_values(differences)
    check_values(outcomes)
    if differences.shape != outcomes.shape:
        raise ValueError(f"shapes differ: differences {differences.shape}, outcomes {outcomes.shape}")
    if (outcomes < 0).any() or (outcomes > 1).any():
        raise ValueError("an outcome is not within 0 and 1")
    return 1 / (1 + np.exp(-np.abs(differences))), 0.5 + np.sign(differences) * (outcomes - 0.5)


def _equal_mass_bins(confidence: Values) -> NDArray[np.intp]:
    """The bin of each pair, (N,), numbered from 0. Pairs of one confidence are in one bin, whatever their order."""
    count = min(MOST_BINS, max(1, len(confidence) // PAIRS_PER_BIN))
    edges = np.unique(np.quantile(confidence, np.arange(1, count) / count))
    return np.unique(np.searchsorted(edges, confidence, side="left"), return_inverse=True)[1]


def _gaps_and_errors(gap: Values, bins: NDArray[np.intp], prompts: NDArray[Any]) -> tuple[Values, Values]:
    """The weight of each bin times its mean gap, (B,), and each prompt's part of the error of that, (P, B)."""
    total, size = np.bincount(bins, gap), np.bincount(bins)
    error = gap - (total / size)[bins]
    parts = [sums_by_prompt(prompts, np.where(bins == i, error, 0.0))[0] for i in range(len(size))]
    return total / len(gap), np.stack(parts, 1) / len(gap)


def _mean_of_absolute_normal(mean: Values, deviation: Values) -> Values:
    """E|X| of normal X (Leone et al. 1961). Any shape."""
    from scipy.special import erf

    scaled = np.abs(mean) / np.where(deviation > 0, deviation, 1.0) / math.sqrt(2)
    spread = deviation * math.sqrt(2 / math.pi) * np.exp(-np.square(scaled)) + np.abs(mean) * erf(scaled)
    return np.where(deviation > 0, spread, np.abs(mean))


def _resampled_sums(errors: Values, rng: np.random.Generator) -> Values:
    """The sums of ``errors`` (P, B) over prompts that are drawn anew, (9999, B)."""
    prompts, at_once = len(errors), max(1, CELLS // len(errors))
    sizes = [min(at_once, RESAMPLES - start) for start in range(0, RESAMPLES, at_once)]
    drawn = (rng.integers(0, prompts, (size, prompts)) for size in sizes)
    return np.concatenate([times_drawn(rows, prompts) @ errors for rows in drawn])


def _in_bins(differences: Values, outcomes: Values, prompts: NDArray[Any]) -> tuple[Values, Values, NDArray[np.intp]]:
    """Confidence, whether it was right, and the bin of each pair: all (N,)."""
    confidence, right = confidence_and_right(differences, outcomes)
    if prompts.shape != differences.shape:
        raise ValueError(f"shapes differ: differences {differences.shape}, prompts {prompts.shape}")
    return confidence, right, _equal_mass_bins(confidence)


def reliability(
    differences: Values, outcomes: Values, prompts: NDArray[Any], rng: np.random.Generator
) -> list[ReliabilityPoint]:
    """The points of a reliability diagram, by confidence, in the bins of ``expected_calibration_error``.

    The arguments are as there. Intervals are resampled by prompt.

    Raises:
        ValueError: the shapes differ or are no vectors, there is no pair, a difference is not finite, or an outcome is
            not within 0 and 1.
    """
    confidence, right, bins = _in_bins(differences, outcomes, prompts)
    points = []
    for i in range(bins.max() + 1):
        chosen = bins == i
        total, count = sums_by_prompt(prompts[chosen], right[chosen], np.ones(int(chosen.sum())))
        interval = fraction_interval_by_prompt(total, count, rng)
        points.append(
            ReliabilityPoint(float(confidence[chosen].mean()), float(right[chosen].mean()), interval, int(chosen.sum()))
        )
    return points


def best_temperature(differences: Values, outcomes: Values) -> float:
    """The T with which sigmoid(difference / T) makes the outcomes likeliest; above 1 for a model that is too sure.

    (N,), (N,), as for ``expected_calibration_error``. Guo et al. 2017 (arXiv:1706.04599), section 4.2. In 1 / T the
    likelihood is concave: the root of its slope is found to 1e-12 of itself. If the model is always right it is 0, and
    if it is right no more often than a coin, weighted by its differences, it is infinite.

    Raises:
        ValueError: the shapes differ or are no vectors, there is no pair, a difference is not finite, or an outcome is
            not within 0 and 1.
    """
    _, right = confidence_and_right(differences, outcomes)
    size = np.abs(differences)
    if not (size > 0).any():
        return math.inf
    scale = float(size.max())
    size = size / scale

    def slope(log_inverse: float) -> float:
        """Of the log-likelihood: what is right, weighted by size, less what would be expected."""
        return float(size @ (right - 1 / (1 + np.exp(-math.exp(log_inverse) * size))))

    if size @ (right - 0.5) <= 0:
        return math.inf
    if (right[size > 0] == 1).all():
        return 0.0
    from scipy.optimize import brentq

    low, high = 0.0, 0.0
    while slope(low) <= 0:
        low -= 1
    while slope(high) >= 0:
        high += 1
    return scale * math.exp(-brentq(slope, low, high, xtol=1e-12, rtol=1e-14))
