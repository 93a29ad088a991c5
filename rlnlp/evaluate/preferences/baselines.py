"""What a reward model must beat: rules that read nothing, and a model that was fitted to shuffled labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlnlp.data.judged import TIE, Judged, Pair
from rlnlp.evaluate.preferences.heldout import Decided, HeldoutScores, known
from rlnlp.maths.accuracy import accuracy_gain, more_frequent_side, preference_accuracy
from rlnlp.maths.resampling import Values, smallest_p_value

MAJORITY, LONGER, SHUFFLED = "majority", "longer", "shuffled labels"
COIN = "a coin"
LEVEL = 0.05  # with so few prompts that no test can reach it, nothing is shown


@dataclass(frozen=True)
class Rule:
    """A baseline, ``rule`` in words; ``differences`` (N,) are its scores as a model's, None if it was not fitted."""

    name: str
    rule: str
    differences: Values | None


def baselines(
    pairs: Decided, train: Sequence[Judged], shuffled: HeldoutScores | None, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The accuracy of each baseline, and by how much the model is better, on the same pairs.

    ``beaten`` is False where the model is no better on these pairs, True where the gain's interval is above 0, else
    None: it may be chance.
    """
    rules = [majority(pairs, train), longer(pairs, train)]
    of_shuffled = None if shuffled is None else differences_of(shuffled, pairs)
    rules.append(Rule(SHUFFLED, SHUFFLED, of_shuffled))
    return [_record(rule, pairs, rng) for rule in rules]


def majority(pairs: Decided, train: Sequence[Judged]) -> Rule:
    """The place, first or second, at which the preferred answer stands more often in the training pairs.

    Where it always stands first, as in records of "chosen" and "rejected", the place is the label itself: a coin.
    """
    places = [0.5 if pair.target == TIE else float(pair.chosen < pair.rejected) for _, pair in _pairs(train)]
    by_form = all(place == 1 for place in places) or bool((pairs.stands_first > 0).all())
    side = 0.0 if by_form or not places else more_frequent_side(np.array(places))
    words = {1.0: "the first wins", -1.0: "the second wins", 0.0: COIN}
    return Rule(MAJORITY, words[side], side * pairs.stands_first)


def longer(pairs: Decided, train: Sequence[Judged]) -> Rule:
    """The longer answer, or the shorter one if that is preferred more often in training (there in characters)."""
    grown = [np.sign(len(row.texts[p.chosen]) - len(row.texts[p.rejected])) for row, p in _pairs(train) if _told(p)]
    side = -1.0 if sum(grown) < 0 else 1.0
    return Rule(LONGER, "longer wins" if side > 0 else "shorter wins", side * pairs.lengths)


def _pairs(rows: Sequence[Judged]) -> Iterator[tuple[Judged, Pair]]:
    return ((row, pair) for row in rows for pair in row.pairs)


def _told(pair: Pair) -> bool:
    return pair.target != TIE


def differences_of(scores: HeldoutScores, pairs: Decided) -> Values:
    """The scores of another model for ``pairs``, of the preferred answer less the other; 0 where one is not finite."""
    raw = [np.asarray(each, dtype=np.float64) for each in scores.raw]
    found = [(raw[i][c], raw[i][r]) for i, c, r in zip(pairs.row, pairs.chosen, pairs.rejected, strict=True)]
    return np.array([a - b if np.isfinite(a) and np.isfinite(b) else 0.0 for a, b in found], dtype=np.float64)


def _record(rule: Rule, pairs: Decided, rng: np.random.Generator) -> dict[str, Any]:
    units, empty = pairs.unit_count, {"accuracy": None, "interval": None, "gain": None, "gain_interval": None}
    named = {"name": rule.name, "rule": rule.rule}
    if rule.differences is None or not len(pairs.differences):
        return {**named, **empty, "beaten": None}
    if rule.rule == COIN:  # its accuracy is not measured: that of the model is all that is uncertain
        whole = preference_accuracy(pairs.differences, pairs.units, rng)
        interval, value, ends = None, whole.value - 0.5, known(whole.interval, units)
        ends = ends and [end - 0.5 for end in ends]
        accuracy = 0.5
    else:
        own = preference_accuracy(rule.differences, pairs.units, rng)
        gain = accuracy_gain(pairs.differences, rule.differences, pairs.units, rng)
        accuracy, interval, value, ends = own.value, known(own.interval, units), gain.value, known(gain.interval, units)
    return {
        **named, "accuracy": accuracy, "interval": interval, "gain": value, "gain_interval": ends,
        "beaten": _beaten(value, ends, units),
    }  # fmt: skip


def _beaten(gain: float, ends: Sequence[float] | None, units: int) -> bool | None:
    if gain <= 0:
        return False
    return True if ends is not None and ends[0] > 0 and smallest_p_value(units) < LEVEL else None
