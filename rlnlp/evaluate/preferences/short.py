"""The short of a reward model's report, for a terminal."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from rlnlp.errors import one_line
from rlnlp.evaluate.page.numbers import percent
from rlnlp.evaluate.page.parts import sentence
from rlnlp.evaluate.preferences import sentences
from rlnlp.evaluate.preferences.page import subtitle
from rlnlp.evaluate.preferences.verdict import named
from rlnlp.evaluate.preferences.words import gain_words, plural, rate, rates, where
from rlnlp.evaluate.report import print_lines
from rlnlp.evaluate.summary import LABEL, STRONG, TEXT, WARNING, Line, Row, aligned

Record = Mapping[str, Any]
DOUBTED, UNLIKELY = 2, 0.25  # labels that are shown, of those with a lower probability


def reward_model_printed(record: Record) -> None:
    """Print the short of it to stdout, with where the report is."""
    report = Line(f"report: {record['report']} (all of it; also report.md beside it)")
    print_lines(Console(file=sys.stdout, highlight=False), [*reward_model_lines(record), Line(""), report])


def reward_model_lines(record: Record) -> list[Line]:
    """The verdict, what was measured, the baselines, and all that ``reward_model_notes`` say."""
    verdict, *notes = reward_model_notes(record)
    lines = [Line(verdict, STRONG if record["separate"] else WARNING, 2), Line(subtitle(record), "", 2)]
    if record["accuracy"] is not None:
        lines += map(Line, aligned(list(_rows(record))))
    lines += [Line(note, "", 2) for note in notes]
    for each in record["mislabelled"][:DOUBTED] if record["separate"] else []:
        if each["probability"] is None or each["probability"] < UNLIKELY:
            lines += _doubted(each)
    return lines


def reward_model_notes(record: Record) -> list[str]:
    """The verdict, calibration, length, the curve, annotators, cross-validation and what else must be known."""
    found = [sentences.calibration(record), sentences.length(record), _curve(record), sentences.annotators(record)]
    found.append(sentences.cross_validation(record))
    told = [" ".join(each) for each in found if each]
    return [sentence(record["verdict"]), *told, *map(sentence, record["notes"])]


def _curve(record: Record) -> list[str]:
    """The learning curve with its figures, which have a table on the page."""
    if not record["learning_curve"]:
        return []
    sizes = ", ".join(f"{point['prompts']:,}" for point in record["learning_curve"])
    reached = ", ".join(rate(point["accuracy"]) for point in record["learning_curve"])
    whole = f"Learning curve over {sizes} {plural(record['trained_unit'])}: {reached}."
    return [whole, *sentences.curve(record)]


def _rows(record: Record) -> Iterator[Row]:
    yield "", where(record), "95 % interval", "the model minus it"
    yield "accuracy", rate(record["accuracy"]), rates(record["accuracy_interval"]), ""
    for each in record["baselines"]:
        if each["accuracy"] is not None:
            yield f"  {named(each)}", rate(each["accuracy"]), rates(each["interval"]), gain_words(each)


def _doubted(each: Record) -> Iterator[Line]:
    sure = "" if each["probability"] is None else f"  (probability {percent(each['probability'])})"
    yield Line(f"doubted label: {one_line(each['location'], 100)}{sure}", STRONG, LABEL)
    yield Line(f"better  {one_line(each['chosen'], TEXT)}", "", LABEL)
    yield Line(f"worse   {one_line(each['rejected'], TEXT)}", "", LABEL)
