"""The record of a reward model's report: how far it can be trusted, as plain data."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlnlp.data.judged import Judged
from rlnlp.data.units import units_of
from rlnlp.errors import counted
from rlnlp.evaluate.preferences import annotators, calibrated, grouped
from rlnlp.evaluate.preferences.baselines import baselines
from rlnlp.evaluate.preferences.curve import CurvePoint, curve_points, learning_curve, twice_the_labels
from rlnlp.evaluate.preferences.heldout import Decided, HeldoutScores, decided, known
from rlnlp.evaluate.preferences.mislabelled import most_likely_mislabelled
from rlnlp.evaluate.preferences.verdict import NOTHING, beats, verdict
from rlnlp.evaluate.preferences.words import SHARES, plural
from rlnlp.maths.accuracy import preference_accuracy
from rlnlp.maths.resampling import few_prompts_notes
from rlnlp.rng import stream

NO_CURVE = "no models were fitted to parts of the data"
ON_TRAINING = "on pairs that were trained on, every curve rises"
NO_SHUFFLED = "no model was fitted to shuffled labels"
NO_LOG_ODDS = "its scores are fitted to ratings: their differences are no log-odds"
LIMITS = (
    "Whether the labels are right: the accuracy is how often the model agrees with them.",
    "How the model scores text unlike these pairs, such as what a policy writes that was trained to please it.",
    "How another seed comes out: the intervals are of measured {units} drawn anew, not of training anew.",
)


def preference_record(
    heldout: HeldoutScores, train: Sequence[Judged], rng: np.random.Generator, *, separate: bool = True,
    shuffled: HeldoutScores | None = None, curve: Sequence[CurvePoint] = (), log_odds: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """How far a reward model can be trusted, measured on ``heldout``; ``train`` are the rows that it was fitted to.

    ``separate`` is False if it was measured on these. ``shuffled`` and ``curve`` are of other models on the same
    held-out rows. ``log_odds`` is False of scores that are fitted to ratings. What cannot be told is None, with the
    reason in ``missing``. "values" holds the figures of each pair, for the pictures.

    Raises:
        ValueError: another model has scored other rows.
    """
    for other in [*([shuffled] if shuffled else []), *(point.scores for point in curve)]:
        if [row.pairs for row in other.rows] != [row.pairs for row in heldout.rows]:
            raise ValueError("a model that is compared with has scored other rows")
    pairs, base = decided(heldout), int(rng.integers(2**63))

    def own(part: str) -> np.random.Generator:
        """A stream of its own for each part, so that none depends on which others there are."""
        return stream(base, part)

    record: dict[str, Any] = {
        "n": len(pairs.differences), "ties": pairs.ties, "unscored": pairs.unscored, "prompts": pairs.unit_count,
        "unit": unit_word(heldout.rows), "separate": separate, "trained_pairs": sum(len(row.pairs) for row in train),
        "trained_prompts": len(set(units_of(train))), "trained_unit": unit_word(train), "missing": {},
    }  # fmt: skip
    record |= _accuracy(pairs, own("accuracy"))
    record["baselines"] = baselines(pairs, train, shuffled, own("baselines"))
    if not separate:
        record["baselines"] = [{**each, "beaten": None} for each in record["baselines"]]
    if shuffled is None:
        record["missing"]["shuffled labels"] = NO_SHUFFLED
    _calibration(record, pairs, log_odds, own("calibration"))
    _groups(record, pairs, own("groups"))
    _curve(record, pairs, curve, own("curve"))
    _annotators(record, pairs, heldout.rows, train if separate else [], own("annotators"))
    record["mislabelled"] = most_likely_mislabelled(pairs, heldout.rows, log_odds)
    record["beats_baselines"] = beats(record["baselines"])
    record["verdict"] = verdict(record)
    record["notes"] = notes(record, heldout.rows)
    record["not_shown"] = [limit.format(units=plural(record["unit"])) for limit in LIMITS]
    record["values"] = {"difference": pairs.differences.tolist(), "length": pairs.lengths.tolist()}
    return record


def _accuracy(pairs: Decided, rng: np.random.Generator) -> dict[str, Any]:
    if not len(pairs.differences):
        return {"accuracy": None, "accuracy_interval": None}
    whole = preference_accuracy(pairs.differences, pairs.units, rng)
    return {"accuracy": whole.value, "accuracy_interval": known(whole.interval, pairs.unit_count)}


def _calibration(record: dict[str, Any], pairs: Decided, log_odds: bool, rng: np.random.Generator) -> None:
    record |= {"ece": None, "ece_interval": None, "reliability": [], "temperature": None}
    if not log_odds:
        record["missing"]["calibration"] = NO_LOG_ODDS
    elif record["n"] < calibrated.LEAST:
        record["missing"]["calibration"] = _few(record["n"], calibrated.LEAST)
    else:
        record |= calibrated.calibration(pairs, rng)


def _groups(record: dict[str, Any], pairs: Decided, rng: np.random.Generator) -> None:
    record |= {"by_margin": None, "by_length_difference": None, "length": None}
    if record["n"] < grouped.LEAST:
        record["missing"] |= dict.fromkeys(("by_margin", "by_length_difference", "length"), _few(record["n"], 20))
        return
    record["by_margin"] = grouped.by_margin(pairs, rng)
    record["by_length_difference"] = grouped.by_length_difference(pairs, rng)
    record["length"] = grouped.length(pairs, rng)


def _curve(record: dict[str, Any], pairs: Decided, curve: Sequence[CurvePoint], rng: np.random.Generator) -> None:
    record |= {"learning_curve": [], "twice_the_labels": None}
    if not curve or not record["n"] or not record["separate"]:
        reason = NOTHING if not record["n"] else NO_CURVE if not curve else ON_TRAINING
        record["missing"]["learning_curve"] = reason
        return
    points = curve_points(curve, pairs, (record["trained_pairs"], record["trained_prompts"]))
    record["learning_curve"] = learning_curve(points, pairs, rng)
    record["twice_the_labels"], reason = twice_the_labels(points, pairs, rng)
    if reason:
        record["missing"]["twice_the_labels"] = reason


def _annotators(
    record: dict[str, Any], pairs: Decided, rows: Sequence[Judged], train: Sequence[Judged], rng: np.random.Generator
) -> None:
    record["agreement"], reason = annotators.agreement([*train, *rows], rng)
    record["by_annotator"] = annotators.by_annotator(pairs, rows, rng)
    record["unseen_annotators"], other = annotators.unseen_annotators(pairs, rows, train, rng)
    record["missing"] |= {"agreement": reason} if reason else {}
    record["missing"] |= {"unseen_annotators": other} if other else {}


def _few(pairs: int, least: int) -> str:
    return f"{counted(pairs, 'pair')}, at least {least} are needed"


def unit_word(rows: Sequence[Judged]) -> str:
    """What is drawn anew for the intervals: a group, a prompt, or rows that share a text."""
    if any(row.group is not None for row in rows):
        return "group"
    return "prompt" if any(row.prompt for row in rows) else SHARES


def notes(record: dict[str, Any], rows: Sequence[Judged]) -> list[str]:
    """What a reader must know, as sentences."""
    found = []
    if not record["separate"]:
        found.append(
            "All figures are measured on pairs that the model was trained on: they say nothing of other pairs."
        )
    if record["ties"]:
        found.append(f"{counted(record['ties'], 'labelled tie')} left out: no answer is the right one.")
    if record["unscored"]:
        found.append(f"{counted(record['unscored'], 'pair')} left out, because a score is not finite.")
    if len({row.weight for row in rows}) > 1:
        found.append("Every pair counts the same here, whatever its weight in training.")
    if record["prompts"] == 1:
        found.append(f"All pairs belong to one {record['unit']}: no interval can be told.")
    elif record["n"]:
        few = few_prompts_notes(record["prompts"])[:1]
        found += [note.replace("prompts", plural(record["unit"])) for note in few]
    return found
