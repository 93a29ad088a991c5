"""The short of a reward model's report, for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rlnlp.errors import one_line
from rlnlp.evaluate.page.numbers import percent
from rlnlp.evaluate.page.parts import sentence
from rlnlp.evaluate.preferences import sentences
from rlnlp.evaluate.preferences.page import subtitle
from rlnlp.evaluate.preferences.verdict import named
from rlnlp.evaluate.preferences.words import gain_words, plural, rate, rates, where
from rlnlp.evaluate.summary import LABEL, STRONG, TEXT, WARNING, Line, Row, aligned

Record = Mapping[str, Any]
DOUBTED = 2  # labels that are shown


def reward_model_lines(record: Record) -> list[Line]:
    """The verdict, what was measured, the baselines, calibration, length, the curve, annotators, doubted labels."""
    lines = [Line(sentence(record["verdict"]), STRONG if record["separate"] else WARNING, 2)]
    lines.append(Line(subtitle(record), "", 2))
    if record["accuracy"] is not None:
        lines += map(Line, aligned(list(_rows(record))))
    for name in ("calibration", "length", "curve", "annotators"):
        lines += [Line(text, "", 2) for text in _told(record, name)]
    lines += [Line(sentence(note), "", 2) for note in record["notes"]]
    for each in record["mislabelled"][:DOUBTED] if record["separate"] else []:
        lines += _doubted(each)
    return lines


def _rows(record: Record) -> Iterator[Row]:
    yield "", where(record), "95 % interval", "the model minus it"
    yield "accuracy", rate(record["accuracy"]), rates(record["accuracy_interval"]), ""
    for each in record["baselines"]:
        if each["accuracy"] is not None:
            yield f"  {named(each)}", rate(each["accuracy"]), rates(each["interval"]), gain_words(each)


def _told(record: Record, name: str) -> list[str]:
    """The findings on one thing as one paragraph; where there are none, nothing."""
    tell = {
        "calibration": sentences.calibration, "length": sentences.length, "curve": sentences.curve,
        "annotators": sentences.annotators,
    }[name]  # fmt: skip
    found = tell(record)
    if name == "curve" and found:
        sizes = ", ".join(f"{point['prompts']:,}" for point in record["learning_curve"])
        reached = ", ".join(rate(point["accuracy"]) for point in record["learning_curve"])
        found = [f"Learning curve over {sizes} {plural(record['unit'])}: {reached}.", *found]
    return [" ".join(found)] if found else []


def _doubted(each: Record) -> Iterator[Line]:
    sure = "" if each["probability"] is None else f"  (probability {percent(each['probability'])})"
    yield Line(f"doubted label: {one_line(each['location'], 100)}{sure}", STRONG, LABEL)
    yield Line(f"better  {one_line(each['chosen'], TEXT)}", "", LABEL)
    yield Line(f"worse   {one_line(each['rejected'], TEXT)}", "", LABEL)
