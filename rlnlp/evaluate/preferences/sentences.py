"""The findings of a reward model's report in sentences, for the page and for a terminal."""

from collections.abc import Mapping
from typing import Any

from rlnlp.errors import counted
from rlnlp.evaluate.page.numbers import interval, number
from rlnlp.evaluate.page.parts import sentence
from rlnlp.evaluate.preferences.grouped import MARGIN, OWN, RATINGS
from rlnlp.evaluate.preferences.words import plural, points, points_interval, rate, rates, where

Record = Mapping[str, Any]
NAMES = {  # of what may be missing
    "shuffled labels": "The baseline of shuffled labels",
    "calibration": "Calibration",
    "by_margin": "Accuracy by margin",
    "by_length_difference": "Accuracy by length difference",
    "length": "The part of length",
    "learning_curve": "The learning curve",
    "twice_the_labels": "What twice the labels would buy",
    "agreement": "The agreement of annotators",
    "unseen_annotators": "Accuracy for annotators that training has not seen",
}
BY = {
    MARGIN: "By the margin that the labels give: how much better the preferred answer was said to be.",
    RATINGS: "By how far the ratings of the two answers are apart.",
    OWN: "By the model's own margin, how far it puts the two scores apart: this says how often it is right where it is"
    " sure, and nothing of how clear a pair is to people.",
}


def accuracy(record: Record) -> str:
    """The accuracy with what it was measured on."""
    if record["accuracy"] is None:
        return "nothing measured"
    ends = rates(record["accuracy_interval"])
    what = counted(record["n"], record.get("where") or where(record)[:-1])
    return f"accuracy {rate(record['accuracy'])}{f' {ends}' if ends else ''} on {what}"


def calibration(record: Record) -> list[str]:
    """The error, and what would mend it."""
    if record["ece"] is None:
        return []
    ends = interval(record["ece_interval"])
    found = [f"Calibration error {number(record['ece'])}{f' {ends}' if ends else ''}: {_how_sure(record)}."]
    mended = record["temperature"]
    if mended["ece"] is not None:
        ends = interval(mended["ece_interval"])
        left = f"{number(mended['ece'])}{f' {ends}' if ends else ''}"
        found.append(f"With its scores divided by a temperature of {mended['value']:.2f} it would be {left}.")
    elif mended["reason"]:
        found.append(f"No temperature is told: {mended['reason']}.")
    return found


def _how_sure(record: Record) -> str:
    """Whether it is too sure, over all pairs."""
    points_of = record["reliability"]
    count = sum(point["n"] for point in points_of)
    surplus = sum(point["n"] * (point["confidence"] - point["accuracy"]) for point in points_of) / count
    means = [sum(point["n"] * point[name] for point in points_of) / count for name in ("confidence", "accuracy")]
    word = "it is as sure as it may be on average"
    if abs(surplus) >= 0.005:
        word = "it is too sure" if surplus > 0 else "it is less sure than it may be"
    return f"{word} (mean confidence {rate(means[0])}, right in {rate(means[1])})"


def margins(record: Record) -> list[str]:
    """By what the pairs are grouped."""
    return [BY[record["by_margin"]["of"]]] if record["by_margin"] else []


def length(record: Record) -> list[str]:
    """How much of the score is length."""
    found, part = [], record["length"]
    if part is None:
        return []
    if part["correlation"] is None:
        return ["Within pairs the lengths, or the scores, are all the same."]
    ends = interval(part["interval"], 2, sign=True)
    share = f"{100 * part['correlation'] ** 2:.0f} % of the score's variation within pairs"
    found.append(f"Correlation of score and length {part['correlation']:+.2f}{f' {ends}' if ends else ''}: {share}.")
    if part["accuracy_shorter_preferred"] is not None:
        ends = rates(part["accuracy_shorter_preferred_interval"])
        of = counted(part["n_shorter_preferred"], "pair")
        right = f"{rate(part['accuracy_shorter_preferred'])}{f' {ends}' if ends else ''}"
        found.append(f"Where the shorter answer is the preferred one ({of}) it is right in {right}.")
    return found


def curve(record: Record) -> list[str]:
    """What twice the labels would buy, or why that is not told."""
    found = record["twice_the_labels"]
    if not record["learning_curve"]:
        return []
    if found is None:
        return [f"What twice the labels would buy is not told: {record['missing']['twice_the_labels']}."]
    ends, gained = rates(found["interval"]), points_interval(found["gain_interval"])
    labels = f"{found['prompts']:,} {plural(record['trained_unit'])}"
    twice = f"Twice the labels ({labels}) would give about {rate(found['accuracy'])}"
    each = f"each doubling so far bought {points(found['gain'])} points {gained}".rstrip()
    low = None if found["gain_interval"] is None else found["gain_interval"][0]
    doubt = "" if low is None or low > 0 else ", which may be nothing"
    return [f"{twice} {ends}: {each}{doubt}."]


def annotators(record: Record) -> list[str]:
    """How far annotators agree, and how it does on the labels of those that it has not seen."""
    found, agreed, unseen = [], record["agreement"], record["unseen_annotators"]
    if agreed:
        ends, (low, high) = rates(agreed["interval"]), agreed["ceiling"]
        who = f"{counted(agreed['pairs'], 'pair')} that several of {agreed['annotators']:,} annotators judged"
        found.append(f"On {who}, two of them agree in {rate(agreed['rate'])}{f' {ends}' if ends else ''}.")
        found.append(
            f"On labels like these the best possible model has an accuracy between {rate(low)} and {rate(high)}."
        )
    if unseen:
        ends = rates(unseen["interval"])
        right = f"{rate(unseen['accuracy'])}{f' {ends}' if ends else ''} of {counted(unseen['n'], 'pair')}"
        found.append(f"Of {unseen['annotators']:,} annotators that training has not seen, it is right in {right}.")
    return found


def cross_validation(record: Record) -> list[str]:
    """How it does on all pairs, each scored by a model that was trained on the other folds."""
    found = record.get("cross_validation")
    if not found:
        return []
    how = f"Cross-validation, every pair scored by one of {found['folds']} models that were not trained on it"
    return [f"{how}: {accuracy({**found, 'where': 'pair'})}. {sentence(found['verdict'])}"]
