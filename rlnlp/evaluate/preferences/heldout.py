"""Scores of judged answers, and the pairs of them of which one is preferred."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlnlp.data.judged import TIE, Judged
from rlnlp.maths.resampling import Interval, Values


@dataclass(frozen=True)
class HeldoutScores:
    """What a reward model says of ``rows`` (N), each of K answers.

    ``units`` (N,) numbers what each row belongs to: its prompt, or its group. ``raw`` has the scores (K,) of each row
    before they are normalized: their differences are log-odds. ``lengths`` (K,) are in tokens.
    """

    rows: Sequence[Judged]
    units: Sequence[int]
    raw: Sequence[Values]
    lengths: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            ValueError: they differ.
        """
        counts = [len(each) for each in (self.rows, self.units, self.raw, self.lengths)]
        if len(set(counts)) > 1:
            raise ValueError(f"rows, units, raw and lengths differ in number: {counts}")
        for row, raw, lengths in zip(self.rows, self.raw, self.lengths, strict=True):
            if np.shape(raw) != (len(row.answers),) or len(lengths) != len(row.answers):
                shapes = f"scores {np.shape(raw)}, lengths ({len(lengths)},)"
                raise ValueError(f"{row.location}: {len(row.answers)} answers, {shapes}")


@dataclass(frozen=True)
class Decided:
    """The pairs (N) of which one answer is preferred; labelled ties are left out.

    ``differences``, ``lengths`` and ``rated`` are of the preferred answer less the other: the score, the length in
    tokens, the rating (nan where there is none). ``margins`` are those that the data give. ``row`` is the position of
    each pair's row, ``chosen`` and ``rejected`` those of its answers. ``ties`` were left out, and so were
    ``unscored``, whose score is not finite.
    """

    differences: Values
    lengths: Values
    rated: Values
    margins: Values
    units: NDArray[np.intp]
    row: NDArray[np.intp]
    chosen: NDArray[np.intp]
    rejected: NDArray[np.intp]
    ties: int
    unscored: int

    @property
    def unit_count(self) -> int:
        """How many prompts, or groups, the pairs belong to."""
        return len(np.unique(self.units))

    @property
    def stands_first(self) -> Values:
        """1 where the preferred answer stands before the other, -1 where it stands behind it."""
        return np.where(self.chosen < self.rejected, 1.0, -1.0)


def decided(scores: HeldoutScores) -> Decided:
    """The pairs that ``scores`` can be judged by, in the order of their rows."""
    all_pairs = [(i, pair) for i, row in enumerate(scores.rows) for pair in row.pairs]
    told = [(i, pair) for i, pair in all_pairs if pair.target != TIE]
    row = np.array([i for i, _ in told], dtype=np.intp)
    chosen = np.array([pair.chosen for _, pair in told], dtype=np.intp)
    rejected = np.array([pair.rejected for _, pair in told], dtype=np.intp)
    ratings = [row.ratings or [np.nan] * len(row.answers) for row in scores.rows]

    def less(values: Sequence[Any]) -> Values:
        pairs = ((float(values[i][p.chosen]), float(values[i][p.rejected])) for i, p in told)
        return np.array([a - b if np.isfinite(a) and np.isfinite(b) else np.nan for a, b in pairs], dtype=np.float64)

    differences = less(scores.raw)
    kept = np.isfinite(differences)
    return Decided(
        differences[kept], less(scores.lengths)[kept], less(ratings)[kept],
        np.array([pair.margin for _, pair in told], dtype=np.float64)[kept],
        np.array([scores.units[i] for i in row], dtype=np.intp)[kept], row[kept], chosen[kept], rejected[kept],
        len(all_pairs) - len(told), int((~kept).sum()),
    )  # fmt: skip


def known(interval: Interval, units: int) -> list[float] | None:
    """The interval as plain data; None of one unit, which says nothing of others."""
    return [float(end) for end in interval] if units > 1 and np.isfinite(interval).all() else None
