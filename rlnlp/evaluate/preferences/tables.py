"""The tables and samples of a reward model's report."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlnlp.errors import counted, one_line
from rlnlp.evaluate.page.numbers import number, percent, places, signed
from rlnlp.evaluate.page.parts import BAD, GOOD, PLAIN, Cell, Group, Sample, Table
from rlnlp.evaluate.page.tables import cut
from rlnlp.evaluate.preferences.grouped import MARGIN, OWN, RATINGS
from rlnlp.evaluate.preferences.verdict import named
from rlnlp.evaluate.preferences.words import plural, points, points_interval, rate, rates, where

Record = Mapping[str, Any]
ACCURACY = "accuracy [95 % interval]"
TONES = {True: GOOD, False: BAD, None: PLAIN}
NAME = 60  # characters of an annotator or a place that are shown
OF = {MARGIN: "margin", RATINGS: "ratings apart", OWN: "scores apart"}


def baselines_table(record: Record) -> list[Table]:
    """The model and what it must beat; on all pairs too, where there was cross-validation."""
    head = ("", ACCURACY, "the model minus it, points")
    measured = [(f"On the same {where(record)}", record)]
    if folds := record.get("cross_validation"):
        measured.append((f"On all {folds['n']:,} pairs, each by a model that was not trained on it", folds))
    rows = [(caption, _baseline_rows(each)) for caption, each in measured if each["accuracy"] is not None]
    return [Table(caption, head, [Group("", each)]) for caption, each in rows]


def _baseline_rows(record: Record) -> list[list[Cell]]:
    rows = [[Cell("the model"), _rate(record["accuracy"], record["accuracy_interval"]), Cell("")]]
    for each in record["baselines"]:
        if each["accuracy"] is not None:
            gain = Cell(points(each["gain"]), points_interval(each["gain_interval"]), TONES[each["beaten"]])
            rows.append([Cell(named(each)), _rate(each["accuracy"], each["interval"]), gain])
    return rows


def _rate(value: float | None, ends: Sequence[float] | None) -> Cell:
    return Cell(rate(value), rates(ends))


def _table(record: Record, caption: str, first: str, rows: Sequence[Sequence[Cell]]) -> list[Table]:
    """Groups of pairs with their accuracies."""
    head = (first, ACCURACY, "pairs")
    return [Table(f"{caption}, {where(record)}", head, [Group("", rows)])] if rows else []


def reliability_table(record: Record) -> list[Table]:
    """Confidence and accuracy in bins of equal numbers of pairs."""
    rows = [
        [Cell(rate(point["confidence"])), _rate(point["accuracy"], point["interval"]), Cell(number(point["n"], 0))]
        for point in record["reliability"]
    ]
    return _table(record, "Confidence and accuracy", "confidence", rows)


def margin_table(record: Record) -> list[Table]:
    """Accuracy by margin."""
    if record["by_margin"] is None:
        return []
    rows = [_group(each, margin_words(each)) for each in record["by_margin"]["groups"]]
    return _table(record, f"Accuracy by {record['by_margin']['of']}", OF[record["by_margin"]["of"]], rows)


def length_table(record: Record) -> list[Table]:
    """Accuracy by how much longer the preferred answer is."""
    rows = [_group(each, length_words(each)) for each in record["by_length_difference"] or []]
    return _table(record, "Accuracy by length", "preferred answer longer by, tokens", rows)


def _group(each: Record, name: str) -> list[Cell]:
    return [Cell(name), _rate(each["accuracy"], each["interval"]), Cell(number(each["n"], 0))]


def margin_words(group: Record) -> str:
    """``0.120 to 0.450``; one figure where both ends are the same."""
    low, high = group["low"], group["high"]
    decimals = 0 if low == int(low) and high == int(high) else min(2, places(low, high))
    ends = number(low, decimals), number(high, decimals)
    return ends[0] if low == high else f"{ends[0]} to {ends[1]}"


def length_words(group: Record) -> str:
    """``-12 to -3``; one figure where both ends are the same."""
    low, high = (signed(end, 0) if end else "0" for end in (group["low"], group["high"]))
    return low if low == high else f"{low} to {high}"


def curve_table(record: Record) -> list[Table]:
    """The learning curve."""
    rows = [
        [
            Cell(f"{point['prompts']:,}", counted(point["pairs"], "pair")),
            _rate(point["accuracy"], point["interval"]),
        ]
        for point in record["learning_curve"]
    ]
    head = (f"{plural(record['trained_unit'])} trained on", ACCURACY)
    return [Table(f"Accuracy on the same {where(record)}", head, [Group("", rows)])] if rows else []


def annotators_tables(record: Record) -> list[Table]:
    """Accuracy by annotator."""
    rows = [
        [Cell(one_line(each["annotator"], NAME)), _rate(each["accuracy"], each["interval"]), Cell(number(each["n"], 0))]
        for each in record["by_annotator"]
    ]
    return _table(record, "Accuracy by annotator, those with the most pairs", "annotator", rows)


def doubted(record: Record) -> list[Sample]:
    """The pairs whose labels are doubted."""
    return [_sample(each) for each in record["mislabelled"]]


def _sample(each: Record) -> Sample:
    by = f", labelled by {one_line(each['annotator'], NAME)}" if each["annotator"] else ""
    sure = [] if each["probability"] is None else [Cell(percent(each["probability"]))]
    head = ("", "score, preferred minus other", *(["probability of this label"] if sure else []))
    row = [Cell("the model"), Cell(signed(each["difference"], places(each["difference"]))), *sure]
    return Sample(
        f"{one_line(each['location'], 2 * NAME)}{by}",
        BAD,
        cut(each["prompt"]),
        (("labelled as better", cut(each["chosen"])), ("labelled as worse", cut(each["rejected"]))),
        Table("What the model says of this pair", head, [Group("", [row])]),
    )
