"""The learning curve of a reward model, and what twice the labels would buy."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rlnlp.evaluate.preferences.baselines import differences_of
from rlnlp.evaluate.preferences.heldout import Decided, HeldoutScores, known
from rlnlp.maths.accuracy import preference_accuracy
from rlnlp.maths.resampling import Rows, Values, bootstrap_interval, sums_by_prompt, times_drawn

FEWEST = 3  # points; a line through two fits always
WIDEST = 0.3  # an interval of accuracies that is wider tells nothing


class CurvePoint(NamedTuple):
    """A model that was fitted to a part of the training data, and its scores of the same held-out rows."""

    pairs: int
    prompts: int
    scores: HeldoutScores


def curve_points(
    curve: Sequence[CurvePoint], pairs: Decided, trained: tuple[int, int]
) -> list[tuple[int, int, Values]]:
    """(pairs, prompts, differences (N,)) of each model, by rising number of prompts, with the model itself as the last.

    ``trained`` are the pairs and prompts that this was fitted to.
    """
    if not curve:
        return []
    points = [(point.pairs, point.prompts, differences_of(point.scores, pairs)) for point in curve]
    whole = [] if any(prompts == trained[1] for _, prompts, _ in points) else [(*trained, pairs.differences)]
    return sorted([*points, *whole], key=lambda point: point[:2])


def learning_curve(
    points: Sequence[tuple[int, int, Values]], pairs: Decided, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The accuracy of each model on the same pairs."""
    rows = []
    for count, prompts, differences in points:
        accuracy = preference_accuracy(differences, pairs.units, rng)
        ends = known(accuracy.interval, pairs.unit_count)
        rows.append({"pairs": count, "prompts": prompts, "accuracy": accuracy.value, "interval": ends})
    return rows


def twice_the_labels(
    points: Sequence[tuple[int, int, Values]], pairs: Decided, rng: np.random.Generator
) -> tuple[dict[str, Any] | None, str]:
    """The accuracy that a straight line over log2 of the prompts gives for twice as many; or None, and why.

    Least squares. ``gain`` is the line's slope: what each doubling bought so far. The intervals are of held-out prompts
    drawn anew, the same ones for all points; that other training data would give another curve is not in them.
    """
    sizes = np.array([prompts for _, prompts, _ in points], dtype=np.float64)
    if len(set(sizes.tolist())) < FEWEST:
        return None, f"a straight line needs models of at least {FEWEST} sizes of data, there are {len(set(sizes))}"
    if (sizes < 1).any():
        return None, "a model was fitted to no prompt"
    doublings = np.log2(sizes)
    centered = doublings - doublings.mean()
    slope = centered / np.square(centered).sum()
    ahead = 1 / len(sizes) + slope * (doublings.max() + 1 - doublings.mean())
    right = [(np.sign(differences) + 1) / 2 for _, _, differences in points]
    *totals, count = sums_by_prompt(pairs.units, *right, np.ones(len(pairs.units)))
    sums = np.stack([*totals, count], 1)

    def of_line(weights: Values) -> tuple[float, list[float] | None]:
        def statistic(rows: Rows) -> Values:
            drawn = times_drawn(rows, len(sums)) @ sums
            return drawn[:, :-1] @ weights / drawn[:, -1]

        value = float(statistic(np.arange(len(sums))[None])[0])
        return value, known(bootstrap_interval(statistic, len(sums), rng), len(sums))

    accuracy, ends = of_line(ahead)
    if ends is None:
        return None, "all pairs belong to one prompt"
    if accuracy >= 1:
        return None, "the straight line leaves 100 %: there is little left to learn on pairs like these"
    _, bend = of_line(np.eye(len(sizes))[-1] - (1 / len(sizes) + slope * centered[-1]))
    if bend is not None and bend[1] < 0:
        return None, "the curve flattens: a straight line through it would promise too much"
    if ends[1] - ends[0] > WIDEST:
        wide = min(100.0, 100 * (ends[1] - ends[0]))
        return None, f"its interval would be {wide:.0f} points wide: more held-out pairs are needed"
    gain, gain_ends = of_line(slope)
    return {
        "prompts": 2 * int(sizes.max()), "accuracy": accuracy, "interval": [max(0.0, ends[0]), min(1.0, ends[1])],
        "gain": gain, "gain_interval": gain_ends,
    }, ""  # fmt: skip
