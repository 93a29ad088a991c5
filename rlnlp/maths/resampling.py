"""Intervals and tests for means over prompts. What is drawn anew is the prompt: its samples are not independent."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Rows = NDArray[np.intp]
Interval = tuple[float, float]

RESAMPLES = 9_999  # with the observed one 10,000, so that the tails of 2.5 % are whole numbers
FEW = 20  # prompts; below, an interval of the bootstrap is too narrow: Student's t over prompts
EXACT = 12  # prompts; up to here all 2^P patterns of signs are tried
CELLS = 2**18  # numbers in memory at once: what fits a processor's cache
EQUAL = 1e-6  # of the largest value: scores are float32


def mean_interval_by_prompt(x: Values, rng: np.random.Generator) -> Interval:
    """95 % confidence interval of the mean of ``x`` (P,), which has one value a prompt.

    The bias-corrected and accelerated bootstrap (BCa; Efron and Tibshirani 1993, section 14.3) with 9,999 resamples;
    Student's t below 20 prompts. If all values are equal, up to rounding, it is that point; of one prompt it is
    infinite.

    Raises:
        ValueError: ``x`` is no vector, is empty or is not finite.
    """
    check_values(x)
    return bootstrap_interval(lambda rows: np.mean(x[rows], axis=1), len(x), rng)


def bootstrap_interval(statistic: Callable[[Rows], Values], prompts: int, rng: np.random.Generator) -> Interval:
    """95 % confidence interval of a statistic that is computed anew for each resample of ``prompts`` prompts.

    ``statistic`` is given the numbers of the prompts drawn, (R, n) from 0 to ``prompts`` - 1, a resample in each row,
    and returns (R,). BCa with 9,999 resamples. Below 20 prompts: Student's t with the error of the jackknife (Efron and
    Tibshirani 1993, equation 11.5), which for a mean is the usual one. If no prompt changes it, up to rounding, it is a
    point; of one prompt it is infinite.

    Raises:
        ValueError: there is no prompt.
    """
    if prompts < 1:
        raise ValueError("there is no prompt to draw from")
    if prompts == 1:
        return -np.inf, np.inf
    center, without = float(statistic(np.arange(prompts)[None])[0]), _jackknife(statistic, prompts)
    if np.ptp(without) * (prompts - 1) <= EQUAL * np.abs(without).max():
        return center, center
    if prompts < FEW:
        from scipy.special import stdtrit

        error = np.sqrt((prompts - 1) / prompts * np.square(without - without.mean()).sum())
        half = float(stdtrit(prompts - 1, 0.975) * error)
        return center - half, center + half
    from scipy.stats import bootstrap

    result = bootstrap(
        (np.arange(prompts),),
        lambda rows, axis: statistic(np.atleast_2d(rows)).reshape(rows.shape[:-1]),
        n_resamples=RESAMPLES,
        batch=max(1, CELLS // prompts),
        vectorized=True,
        method="BCa",
        rng=rng,
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _jackknife(statistic: Callable[[Rows], Values], prompts: int) -> Values:
    """The statistic without each prompt, (P,)."""
    every, at_once = np.arange(prompts), max(1, CELLS // prompts)
    left_out = [every[start : start + at_once, None] for start in range(0, prompts, at_once)]
    kept = (every[:-1] + (every[:-1] >= rows) for rows in left_out)
    return np.concatenate([statistic(rows) for rows in kept])


def times_drawn(rows: Rows, prompts: int) -> Values:
    """How often each prompt is in each resample. (R, n) -> (R, P)."""
    flat = (rows + prompts * np.arange(len(rows))[:, None]).reshape(-1)
    return np.bincount(flat, minlength=len(rows) * prompts).reshape(len(rows), prompts).astype(np.float64)


def fraction_interval_by_prompt(total: Values, count: Values, rng: np.random.Generator) -> Interval:
    """95 % confidence interval of a fraction: the sum of ``total`` (P,) over that of ``count`` (P,), within 0 and 1.

    A prompt has ``count`` pairs, of which ``total`` are right; ties are halves. As ``bootstrap_interval``; if all pairs
    are right, or all wrong, no resample differs: the exact interval of as many prompts (Clopper and Pearson 1934). Of
    one prompt it is 0 to 1.

    Raises:
        ValueError: the shapes differ or are no vectors, there is no prompt, or one has no pair.
    """
    check_values(total)
    check_values(count)
    if total.shape != count.shape or not (count > 0).all():
        raise ValueError(f"every prompt needs a count above 0: arrays of shapes {total.shape} and {count.shape}")
    if len(count) == 1:
        return 0.0, 1.0
    if (total == count).all():
        return float(0.025 ** (1 / len(count))), 1.0
    if (total == 0).all():
        return 0.0, float(1 - 0.025 ** (1 / len(count)))
    low, high = bootstrap_interval(lambda rows: total[rows].sum(1) / count[rows].sum(1), len(count), rng)
    return max(0.0, low), min(1.0, high)


def sums_by_prompt(prompts: NDArray[Any], *values: Values) -> list[Values]:
    """The sums of each of ``values`` (N,) over the entries of one prompt, (P,). ``prompts`` (N,) names the prompt.

    Raises:
        ValueError: the shapes differ or are no vectors, there is nothing, or a value is not finite.
    """
    for each in values:
        check_values(each)
        if each.shape != prompts.shape:
            raise ValueError(f"shapes differ: {each.shape}, of prompts {prompts.shape}")
    distinct, of_prompt = np.unique(prompts, return_inverse=True)
    return [np.bincount(of_prompt, each, len(distinct)).astype(np.float64) for each in values]


def sign_flip_p_value(x: Values, rng: np.random.Generator) -> float:
    """Two-sided p-value of a mean of 0 for ``x`` (P,), differences by prompt, by flipping their signs at random.

    The permutation test of paired samples (Fisher 1935, section 21). Exact up to 12 prompts; else, of 9,999 draws,
    p = (1 + #{|T*| >= |T|}) / 10,000 (Phipson and Smyth 2010), so that it is never 0.

    Raises:
        ValueError: ``x`` is no vector, is empty or is not finite.
    """
    check_values(x)
    reached = abs(x.sum()) - EQUAL * np.abs(x).max()  # rounding must not part what is equal
    extreme = sum(int((np.abs(signs @ x) >= reached).sum()) for signs in _signs(len(x), rng))
    return extreme / 2 ** len(x) if len(x) <= EXACT else (1 + extreme) / (1 + RESAMPLES)


def _signs(prompts: int, rng: np.random.Generator) -> Iterator[Values]:
    """Matrices (R, P) of -1 and 1: all patterns, or as many draws as there are resamples."""
    if prompts <= EXACT:
        yield _as_signs(np.arange(2**prompts)[:, None] >> np.arange(prompts) & 1)
        return
    at_once = max(1, CELLS // prompts)
    for start in range(0, RESAMPLES, at_once):
        size = (min(at_once, RESAMPLES - start), prompts)
        yield _as_signs(rng.integers(0, 2, size, dtype=np.int8))


def _as_signs(bits: NDArray[Any]) -> Values:
    return 1 - 2 * bits.astype(np.float64)


def smallest_p_value(prompts: int) -> float:
    """The lowest p-value that the test by flipping signs can give with so many prompts."""
    return 2 / 2**prompts if prompts <= EXACT else 1 / (1 + RESAMPLES)


def few_prompts_notes(prompts: int) -> list[str]:
    """What a reader must know about intervals and p-values of so few prompts, as sentences; none from 20 prompts on."""
    notes = []
    if prompts < FEW:
        notes.append(f"With fewer than {FEW} prompts the intervals are Student's t over prompts, and rough.")
    if smallest_p_value(prompts) >= 0.05:
        notes.append("With fewer than 6 prompts a p-value below 0.05 is impossible.")
    return notes


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number, in the same order (Holm 1979).

    The i-th smallest of m, counted from 1, becomes the largest (m - j + 1) p_j over j <= i, at most 1.
    """
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = least
    return corrected


def check_values(x: Values) -> None:
    """Let ``x`` be a vector of finite numbers.

    Raises:
        ValueError: it is no vector, is empty or is not finite.
    """
    if x.ndim != 1 or not len(x):
        raise ValueError(f"one value for each prompt is needed, got an array of shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("a value is not finite")
