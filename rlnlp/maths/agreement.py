"""How often a judge agrees with a score, by how sure the score is: its calibration against the judge."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlnlp.maths.resampling import Interval, Values, fraction_interval_by_prompt


@dataclass(frozen=True)
class Agreement:
    """Of the pairs whose scores are about ``gap`` apart: how often the judge prefers the same response, ties half."""

    gap: float
    agreement: float
    interval: Interval
    pairs: int


def agreement_by_gap(gaps: Values, judged: Values, groups: int, rng: np.random.Generator) -> list[Agreement]:
    """The agreement of a judge with a score in at most ``groups`` groups of pairs of one size, by the gap of the score.

    ``gaps`` and ``judged`` (P, K) are differences of the score and of the judge's score for the pairs of each prompt.
    Pairs that the score does not part are left out. A judge that the score predicts well agrees more often the wider
    the gap; one that agrees in half of the pairs has nothing to do with it. Intervals are resampled by prompt.

    Raises:
        ValueError: the shapes differ, or ``groups`` is less than 1.
    """
    if gaps.shape != judged.shape or gaps.ndim != 2:
        raise ValueError(f"shapes differ, or are not (prompts, pairs): {gaps.shape}, {judged.shape}")
    if groups < 1:
        raise ValueError(f"at least one group is needed, got {groups}")
    size, agrees = np.abs(gaps), (np.sign(gaps) * np.sign(judged) + 1) / 2
    parted = size > 0
    if not parted.any():
        return []
    edges = np.unique(np.quantile(size[parted], np.arange(1, groups) / groups))
    group = np.searchsorted(edges, size, side="left")
    return [_agreement(size, agrees, parted & (group == i), rng) for i in np.unique(group[parted])]


def _agreement(size: Values, agrees: Values, chosen: NDArray[np.bool_], rng: np.random.Generator) -> Agreement:
    rows = chosen.any(1)  # the others have no pair in this group
    count, total = chosen[rows].sum(1).astype(np.float64), np.where(chosen, agrees, 0)[rows].sum(1)

    interval = fraction_interval_by_prompt(total, count, rng)
    mean = float(total.sum() / count.sum())
    return Agreement(float(size[chosen].mean()), mean, interval, int(count.sum()))
