"""How often a score prefers the response that people prefer, and how much of that is length.

Throughout: ``differences`` (N,) are the scores of the preferred responses less those of the others, ``lengths`` (N,)
the same of their lengths, and ``prompts`` (N,) names the prompt of each pair. Labelled ties have no preferred response
and are left out. Intervals are 95 % confidence intervals of resamples by prompt.

A rule that needs no model is judged like a score: for "longer wins" the differences are ``lengths``, for "the first one
wins" 1 where the first response is the preferred one and -1 elsewhere.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlnlp.maths.resampling import (
    Interval,
    Rows,
    Values,
    bootstrap_interval,
    check_values,
    fraction_interval_by_prompt,
    sums_by_prompt,
    times_drawn,
)

GROUP = 10  # pairs, at least, in a group of the accuracy by something


class Estimate(NamedTuple):
    """A number, its interval, and the pairs that it is of."""

    value: float
    interval: Interval
    pairs: int


@dataclass(frozen=True)
class Group:
    """The accuracy on pairs whose ``low`` <= value <= ``high``."""

    low: float
    high: float
    accuracy: Estimate


def preference_accuracy(differences: Values, prompts: NDArray[Any], rng: np.random.Generator) -> Estimate:
    """The fraction of the pairs whose preferred response has the higher score; equal scores count half.

    Raises:
        ValueError: the shapes differ or are no vectors, there is no pair, or a difference is not finite.
    """
    check_values(differences)
    total, count = sums_by_prompt(prompts, _right(differences), np.ones(len(differences)))
    interval = fraction_interval_by_prompt(total, count, rng)
    return Estimate(float(total.sum() / count.sum()), interval, len(differences))


def _right(differences: Values) -> Values:
    """1 for the preferred response, 0.5 for equal scores, 0 for the other."""
    return (np.sign(differences) + 1) / 2


def accuracy_gain(differences: Values, baseline: Values, prompts: NDArray[Any], rng: np.random.Generator) -> Estimate:
    """The accuracy of a score less that of another score or rule, ``baseline`` (N,), on the same pairs.

    The two are paired: the interval is of the difference, and may exclude 0 where those of both accuracies overlap.

    Raises:
        ValueError: the shapes differ or are no vectors, there is no pair, or a difference is not finite.
    """
    check_values(differences)
    check_values(baseline)
    if differences.shape != baseline.shape:
        raise ValueError(f"shapes differ: differences {differences.shape}, baseline {baseline.shape}")
    gained = _right(differences) - _right(baseline)
    total, count = sums_by_prompt(prompts, gained, np.ones(len(gained)))
    low, high = bootstrap_interval(lambda rows: total[rows].sum(1) / count[rows].sum(1), len(total), rng)
    return Estimate(float(gained.mean()), (max(-1.0, low), min(1.0, high)), len(gained))


def more_frequent_side(first_preferred: Values) -> float:
    """1 if the first response of a pair is preferred more often than the second, -1 if less often, else 0.

    The guess of one who does not read: told from the training pairs, it is judged on others. ``first_preferred`` (N,)
    is 1 where the first is preferred, 0 where the second is, 0.5 for ties.

    Raises:
        ValueError: it is no vector, is empty or is not finite.
    """
    check_values(first_preferred)
    return float(np.sign(first_preferred.sum() - len(first_preferred) / 2))


def accuracy_by(
    values: Values, differences: Values, prompts: NDArray[Any], groups: int, rng: np.random.Generator
) -> list[Group]:
    """The accuracy in up to ``groups`` groups of about one size, by rising ``values`` (N,): margins, or lengths.

    Pairs of one value are in one group. There are fewer groups if each would have less than 10 pairs.

    Raises:
        ValueError: the shapes differ or are no vectors, there is no pair, a number is not finite, or ``groups`` is less
            than 1.
    """
    check_values(values)
    check_values(differences)
    if values.shape != differences.shape or prompts.shape != differences.shape:
        raise ValueError(f"shapes differ: {values.shape}, {differences.shape}, {prompts.shape}")
    if groups < 1:
        raise ValueError(f"at least one group is needed, got {groups}")
    groups = min(groups, max(1, len(values) // GROUP))
    edges = np.unique(np.quantile(values, np.arange(1, groups) / groups))
    group = np.searchsorted(edges, values, side="left")
    found = []
    for i in np.unique(group):
        chosen = group == i
        accuracy = preference_accuracy(differences[chosen], prompts[chosen], rng)
        found.append(Group(float(values[chosen].min()), float(values[chosen].max()), accuracy))
    return found


def accuracy_where_shorter_is_preferred(
    differences: Values, lengths: Values, prompts: NDArray[Any], rng: np.random.Generator
) -> Estimate | None:
    """The accuracy on pairs whose preferred response is the shorter one; None if there is no such pair.

    A score that is length alone has 0 here.

    Raises:
        ValueError: the shapes differ or are no vectors, there is no pair, or a difference is not finite.
    """
    _check_lengths(differences, lengths, prompts)
    chosen = lengths < 0
    return preference_accuracy(differences[chosen], prompts[chosen], rng) if chosen.any() else None


def length_correlation(
    differences: Values, lengths: Values, prompts: NDArray[Any], rng: np.random.Generator
) -> Estimate | None:
    """The correlation of score and length within pairs, -1 to 1; its square is the share of the score that is length.

    sum(d l) / sqrt(sum(d^2) sum(l^2)): Pearson's with each pair taken both ways round, so that it does not depend on
    which response is preferred. None if all scores, or all lengths, are the same within pairs.

    Raises:
        ValueError: the shapes differ or are no vectors, there is no pair, or a difference is not finite.
    """
    _check_lengths(differences, lengths, prompts)
    if not differences.any() or not lengths.any():
        return None
    scores, sizes = differences / np.abs(differences).max(), lengths / np.abs(lengths).max()
    products = np.stack(sums_by_prompt(prompts, scores * sizes, scores**2, sizes**2), 1)

    def correlation(rows: Rows) -> Values:
        both, of_score, of_length = (times_drawn(rows, len(products)) @ products).T
        spread = np.sqrt(of_score * of_length)
        return np.where(spread > 0, both / np.where(spread > 0, spread, 1.0), 0.0)

    value = float(correlation(np.arange(len(products))[None])[0])
    low, high = bootstrap_interval(correlation, len(products), rng)
    return Estimate(value, (max(-1.0, low), min(1.0, high)), len(differences))


def _check_lengths(differences: Values, lengths: Values, prompts: NDArray[Any]) -> None:
    check_values(differences)
    check_values(lengths)
    if lengths.shape != differences.shape or prompts.shape != differences.shape:
        raise ValueError(f"shapes differ: {differences.shape}, {lengths.shape}, {prompts.shape}")
