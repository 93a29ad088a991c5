"""How far annotators agree beyond chance, with any answers missing: kappa and alpha, and intervals by item.

``counts`` (I, C) are how many annotators gave each of C answers (better first, better second, tie) to each of I items.
All statistics are sums over items before they are divided, so that a resample of items is a product of matrices.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rlnlp.maths.resampling import Interval, Rows, Values, bootstrap_interval, times_drawn

Z = 1.959963984540054  # of the normal distribution, 97.5 %


def cohen_kappa(tables: Values) -> Values:
    """(..., C, C) of how many items one annotator answers c and another k -> (...): Cohen's kappa.

    Cohen 1960, equation 1: (p_o - p_e) / (1 - p_e). NaN where all is one answer, or there is no item.
    """
    total = tables.sum((-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = np.trace(tables, axis1=-2, axis2=-1) / total
        chance = (tables.sum(-1) * tables.sum(-2)).sum(-1) / total**2
        return _beyond(observed, chance)


def fleiss_kappa(counts: Values) -> float:
    """Fleiss' kappa of ``counts`` (I, C) of items with as many annotators each: (P - P_e) / (1 - P_e).

    Fleiss 1971 ("Measuring nominal scale agreement among many raters"). The annotators need not be the same ones. NaN
    where all is one answer.

    Raises:
        ValueError: an item has another number of annotators than the others, or fewer than two.
    """
    raters = counts.sum(1)
    if not len(counts) or (raters != raters[0]).any() or raters[0] < 2:
        raise ValueError(f"each item needs the same number of annotators, two at least: {sorted(set(raters.tolist()))}")
    return float(_fleiss(_fleiss_parts(counts).sum(0)))


def fleiss_interval(counts: Values, rng: np.random.Generator) -> Interval:
    """95 % confidence interval of ``fleiss_kappa``, resampled by item.

    Raises:
        ValueError: as ``fleiss_kappa``.
    """
    fleiss_kappa(counts)
    return _interval(_fleiss_parts(counts), _fleiss, rng)


def krippendorff_alpha(counts: Values) -> float:
    """Krippendorff's alpha of nominal answers, 1 - D_o / D_e; items with one answer say nothing and are left out.

    Krippendorff 2011 ("Computing Krippendorff's Alpha-Reliability"), section C. NaN where all is one answer, or no item
    has two.
    """
    return float(_alpha(coincidences(counts).sum(0)))


def krippendorff_interval(counts: Values, rng: np.random.Generator) -> Interval:
    """95 % confidence interval of ``krippendorff_alpha``, resampled by item.

    Raises:
        ValueError: no item has two answers.
    """
    each = coincidences(counts[counts.sum(1) >= 2])
    size = counts.shape[1]
    return _interval(
        each.reshape(len(each), size * size), lambda sums: _alpha(sums.reshape(*sums.shape[:-1], size, size)), rng
    )


def cohen_interval(
    first: NDArray[np.intp], second: NDArray[np.intp], answers: int, rng: np.random.Generator
) -> Interval:
    """95 % confidence interval of ``cohen_kappa`` of two annotators' answers (I,) to the same items, by item.

    Raises:
        ValueError: there is no item.
    """
    each = np.zeros((len(first), answers * answers))
    each[np.arange(len(first)), first * answers + second] = 1
    return _interval(each, lambda sums: cohen_kappa(sums.reshape(*sums.shape[:-1], answers, answers)), rng)


def confusion(first: NDArray[np.intp], second: NDArray[np.intp], answers: int) -> Values:
    """How many items have each pair of answers. (I,), (I,) -> (C, C)."""
    flat = np.bincount(first * answers + second, minlength=answers * answers)
    return flat.reshape(answers, answers).astype(np.float64)


def coincidences(counts: Values) -> Values:
    """The coincidence matrix (I, C, C) of each item: the ordered pairs of its answers, each over m - 1.

    Krippendorff 2011, section C: o_ck = sum over items of n_uc (n_uk - [c = k]) / (m_u - 1).
    """
    answers = counts.sum(1)
    pairs = counts[:, :, None] * (counts[:, None, :] - np.eye(counts.shape[1]))
    return np.asarray(pairs / np.maximum(answers - 1, 1)[:, None, None])


def wilson_interval(successes: int, total: int) -> Interval:
    """95 % confidence interval of a fraction of independent trials (Wilson 1927); 0 to 1 without any."""
    if total == 0:
        return 0.0, 1.0
    p, shrink = successes / total, 1 + Z**2 / total
    center = (p + Z**2 / (2 * total)) / shrink
    half = Z / shrink * math.sqrt(p * (1 - p) / total + Z**2 / (4 * total**2))
    low = 0.0 if successes == 0 else center - half
    return low, 1.0 if successes == total else center + half


def _fleiss_parts(counts: Values) -> Values:
    """What is summed over items: (I, C + 2) of the counts, the fraction of pairs that agree, and 1."""
    raters = counts.sum(1, keepdims=True)
    agreement = (counts * (counts - 1)).sum(1, keepdims=True) / (raters * (raters - 1))
    return np.concatenate([counts, agreement, np.ones_like(agreement)], 1)


def _fleiss(sums: Values) -> Values:
    counts, agreement, items = sums[..., :-2], sums[..., -2], sums[..., -1]
    fractions = counts / counts.sum(-1, keepdims=True)
    return _beyond(agreement / items, np.square(fractions).sum(-1))


def _alpha(coincidence: Values) -> Values:
    """Krippendorff 2011, section C: 1 - (n - 1) (n - sum o_cc) / (n^2 - sum n_c^2)."""
    each = coincidence.sum(-1)
    n = each.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        disagreement = (n - np.trace(coincidence, axis1=-2, axis2=-1)) * (n - 1)
        return np.asarray(1 - disagreement / (n**2 - np.square(each).sum(-1)))


def _beyond(observed: Values, chance: Values) -> Values:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((observed - chance) / (1 - chance))


def _interval(parts: Values, statistic: Callable[[Values], Values], rng: np.random.Generator) -> Interval:
    """By item. A resample in which all is one answer has full agreement: it cannot be told from chance."""

    def resampled(rows: Rows) -> Values:
        return np.nan_to_num(statistic(times_drawn(rows, len(parts)) @ parts), nan=1.0)

    low, high = bootstrap_interval(resampled, len(parts), rng)
    return max(-1.0, low), min(1.0, high)
