"""The record of a reward model as a report: what stands in it, in which words and in which order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlnlp.errors import counted, one_line
from rlnlp.evaluate.page.files import write_content
from rlnlp.evaluate.page.numbers import interval, number
from rlnlp.evaluate.page.parts import BAD, GOOD, PLAIN, Content, Figure, Section, Tile, sentence, with_figures
from rlnlp.evaluate.preferences import sentences, tables
from rlnlp.evaluate.preferences.baselines import LONGER
from rlnlp.evaluate.preferences.figures import draw_figures
from rlnlp.evaluate.preferences.words import gain_words, plural, rate, rates, where

Record = Mapping[str, Any]
TONES = {True: GOOD, False: BAD, None: PLAIN}


def write_preference_report(record: Record, directory: Path) -> Path:
    """Write ``report.html`` and ``report.md`` with their figures into ``directory``; the path of the first.

    ``record`` is that of ``preference_record``; "run", "settings" and "command" are shown if it has them.

    Raises:
        Failure: exit 5, if they cannot be written.
    """
    return write_content(lambda beside: content(record, draw_figures(record, beside)), directory)


def content(record: Record, figures: Sequence[Figure]) -> Content:
    """The report of ``record``; what could not be told is named with its reason."""
    built = [make(record) for make in SECTIONS]
    return Content(
        title=f"{_name(record)}: {sentences.accuracy(record)}",
        subtitle=subtitle(record),
        verdict=sentence(record["verdict"]),
        tone=TONES[record["beats_baselines"]],
        tiles=list(tiles(record)),
        notes=[sentence(note) for note in record["notes"]],
        sections=[shown for section in built if (shown := with_figures(section, figures)) is not None],
    )


def _name(record: Record) -> str:
    return f"Reward model {one_line(record['run'], 100)}" if record.get("run") else "Reward model"


def subtitle(record: Record) -> str:
    """What was measured, and what it was trained on."""
    seen = "none of them seen in training" if record["separate"] else "all of them seen in training"
    trained = (
        f"{counted(record['trained_pairs'], 'pair')} of {_units(record['trained_unit'], record['trained_prompts'])}"
    )
    measured = f"{counted(record['n'], 'pair')} of {_units(record['unit'], record['prompts'])}"
    return f"Trained on {trained}; measured on {measured}, {seen}."


def _units(unit: str, count: int) -> str:
    return counted(count, unit, plural(unit))


def tiles(record: Record) -> Iterator[Tile]:
    """The figures that are to be seen first."""
    yield Tile(f"accuracy on {where(record)}", rate(record["accuracy"]), rates(record["accuracy_interval"]))
    longer = next(each for each in record["baselines"] if each["name"] == LONGER)
    if longer["accuracy"] is not None:
        yield Tile(f"'{longer['rule']}' alone", rate(longer["accuracy"]), f"the model: {gain_words(longer)}")
    if record["ece"] is not None:
        yield Tile("calibration error", number(record["ece"]), interval(record["ece_interval"]) or "0 is the best")
    if record["length"] and record["length"]["correlation"] is not None:
        ends = interval(record["length"]["interval"], 2, sign=True)
        yield Tile("correlation with length", f"{record['length']['correlation']:+.2f}", ends)
    if record["agreement"]:
        ends = rates(record["agreement"]["interval"])
        yield Tile("annotators agree", rate(record["agreement"]["rate"]), ends)


def baselines(record: Record) -> Section:
    """The model beside what it must beat."""
    how = [
        "Accuracy: the fraction of the pairs whose preferred answer has the higher score; equal scores count half,"
        f" labelled ties are left out. Intervals are 95 % intervals of {plural(record['unit'])} drawn anew.",
        "The model minus a baseline is paired: both are judged on the same pairs, so that the interval of the"
        " difference may exclude 0 where those of the two accuracies overlap.",
        "Which side and which length wins is learned from the labels of the training pairs.",
    ]
    return Section("baselines", "Is it better than rules that read nothing?", sentences.cross_validation(record),
                   tables=tables.baselines_table(record), method=how)  # fmt: skip


def calibration(record: Record) -> Section:
    """Whether its probabilities are true."""
    how = [
        "The score says that an answer is preferred with probability sigmoid(its score minus the other's). Confidence"
        " is the probability of the answer with the higher score; the error is the mean distance of confidence and"
        " accuracy over bins of equal numbers of pairs, less what chance alone would make of it.",
        "The temperature divides the scores. The error that it leaves is measured crosswise, on other"
        f" {plural(record['unit'])} than it was fitted to.",
    ]
    return Section("calibration", "Are its probabilities true?", sentences.calibration(record),
                   tables.reliability_table(record), method=how)  # fmt: skip


def margins(record: Record) -> Section:
    """Accuracy by margin."""
    return Section("margin", "Where is it right?", sentences.margins(record), tables.margin_table(record))


def length(record: Record) -> Section:
    """How much of it is length."""
    how = [
        "The correlation of score and length is within pairs, each taken both ways round; its square is the share of"
        " the score's variation within pairs that length explains. A score that is length alone is never right where"
        " the shorter answer is preferred.",
    ]
    return Section("length", "How much of the score is length?", sentences.length(record),
                   tables.length_table(record), method=how)  # fmt: skip


def curve(record: Record) -> Section:
    """What more labels would buy."""
    how = [
        f"Each point is a model that was fitted to a part of the {plural(record['trained_unit'])}, measured on the same"
        f" {where(record)}. Twice the labels: the straight line of accuracy over the logarithm of the number of"
        f" {plural(record['trained_unit'])}, by least squares. Its interval is of measured"
        f" {plural(record['unit'])} drawn anew; other training data would give another curve, which is not in it.",
    ]
    return Section("curve", "Would more labels help?", sentences.curve(record), tables.curve_table(record), method=how)


def annotators(record: Record) -> Section:
    """How far people agree."""
    how = [
        "Agreement: how often two annotators prefer the same answer of a pair, each pair counted once. The best"
        " possible model, which always knows what most annotators prefer, is right at least as often, and at most as"
        " often as the upper end that is named (for an agreement a: (1 + sqrt(2 a - 1)) / 2)."
    ]
    return Section("annotators", "How far do the annotators agree?", sentences.annotators(record),
                   tables.annotators_tables(record), method=how)  # fmt: skip


def mislabelled(record: Record) -> Section:
    """The labels that it doubts."""
    chosen = (
        "The pairs whose label the model finds least likely. Some of these labels are wrong; in others it is the model."
    )
    return Section("mislabelled", "Pairs that may be mislabelled", [chosen], samples=tables.doubted(record))


def settings(record: Record) -> Section:
    """What was trained, on what, how."""
    return Section(
        "settings", "Settings of the run", facts=[(k, str(v)) for k, v in record.get("settings", {}).items()]
    )


def missing(record: Record) -> Section:
    """What could not be told, and why."""
    items = [sentence(f"{sentences.NAMES[key]}: {reason}") for key, reason in record["missing"].items()]
    return Section("missing", "What could not be measured, and why", items=items)


def not_shown(record: Record) -> Section:
    """What must not be read out of this."""
    return Section("not-shown", "What this does not show", items=[sentence(item) for item in record["not_shown"]])


def again(record: Record) -> Section:
    """The command that makes the same report."""
    return Section("command", "The command that made this report", code=record.get("command") or "")


SECTIONS: tuple[Callable[[Record], Section], ...] = (
    baselines, calibration, margins, length, curve, annotators, mislabelled, settings, missing, not_shown, again,
)  # fmt: skip
