"""The figures of a reward model's report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlnlp.evaluate.page.drawing import (
    FIRST,
    INK,
    SECOND,
    THIRD,
    Drawings,
    Drawn,
    Record,
    around,
    axes_of,
    axis_name,
    draw,
    label_axes,
)
from rlnlp.evaluate.page.numbers import SAYS, number
from rlnlp.evaluate.page.parts import Figure
from rlnlp.evaluate.preferences.baselines import LONGER
from rlnlp.evaluate.preferences.tables import OF, length_words, margin_words
from rlnlp.evaluate.preferences.verdict import named
from rlnlp.evaluate.preferences.words import plural, rate, rates, where

PERCENT = f"% of the pairs right, with its {SAYS}"
MOST = 2_000  # dots of a cloud


def draw_figures(record: Record, directory: Path) -> list[Figure]:
    """The figures that ``record`` has data for, each written to ``directory`` too.

    Raises:
        OSError: the disk is full, or the directory cannot be written to.
    """
    return draw(DRAWN, record, directory)


def baselines(record: Record) -> Drawn:
    """Bars of the accuracy of the model and of each baseline."""
    if record["accuracy"] is None:
        return None
    rows = [("the model", record["accuracy"], record["accuracy_interval"])]
    known = [each for each in record["baselines"] if each["accuracy"] is not None]
    rows += [(named(each), each["accuracy"], each["interval"]) for each in known]
    figure, axes = axes_of(f"Accuracy on {where(record)}", 1.4 + 0.42 * len(rows))
    height = np.arange(len(rows))[::-1]
    values = [value for _, value, _ in rows]
    either = 100 * around(values, [ends for _, _, ends in rows])
    colors = [SECOND] + [FIRST] * len(known)
    axes.barh(height, [100 * value for value in values], height=0.55, color=colors, alpha=0.55)
    axes.errorbar([100 * v for v in values], height, xerr=either, fmt="none", ecolor=INK, capsize=4, elinewidth=1.5)
    axes.axvline(50, color=INK, linewidth=1, linestyle=":")
    axes.set_yticks(height, [axis_name(name) for name, _, _ in rows], fontsize=10)
    axes.set_xlim(0, 102)
    label_axes(axes, PERCENT)
    told = "; ".join(f"{name} {rate(value)} {rates(ends)}".rstrip() for name, value, ends in rows)
    return figure, f"Accuracy with its {SAYS} on {where(record)}: {told}."


def reliability(record: Record) -> Drawn:
    """Accuracy over confidence; on the diagonal the probabilities are true."""
    points = record["reliability"]
    if not points:
        return None
    figure, axes = axes_of(f"Confidence and accuracy, {where(record)}")
    axes.plot([50, 100], [50, 100], color=INK, linewidth=1, linestyle="--", label="true probabilities")
    x, y = ([100 * point[name] for point in points] for name in ("confidence", "accuracy"))
    either = 100 * around([point["accuracy"] for point in points], [point["interval"] for point in points])
    axes.errorbar(x, y, yerr=either, fmt="o-", color=SECOND, capsize=3, markersize=5, label="the model")
    axes.set_xlim(49, 101)
    label_axes(axes, "confidence, %", PERCENT)
    axes.legend(fontsize=9, framealpha=0.7)
    told = [f"{rate(p['confidence'])} sure, right in {rate(p['accuracy'])} {rates(p['interval'])}" for p in points]
    return figure, f"Accuracy by confidence on {where(record)}: {'; '.join(told)}."


def margins(record: Record) -> Drawn:
    """Accuracy by margin."""
    if not record["by_margin"]:
        return None
    names = [margin_words(group) for group in record["by_margin"]["groups"]]
    of = record["by_margin"]["of"]
    return _groups(record, f"Accuracy by {of}", record["by_margin"]["groups"], names, OF[of])


def length_differences(record: Record) -> Drawn:
    """Accuracy by how much longer the preferred answer is."""
    groups = record["by_length_difference"]
    if not groups:
        return None
    what = "how much longer the preferred answer is, tokens"
    return _groups(record, "Accuracy by length difference", groups, [length_words(each) for each in groups], what)


def _groups(record: Record, title: str, groups: Sequence[Record], names: Sequence[str], what: str) -> Drawn:
    """Points with their intervals, one for each group."""
    figure, axes = axes_of(f"{title}, {where(record)}")
    values = [group["accuracy"] for group in groups]
    either = 100 * around(values, [group["interval"] for group in groups])
    axes.axhline(50, color=INK, linewidth=1, linestyle=":")
    axes.errorbar(range(len(groups)), [100 * v for v in values], yerr=either, fmt="o-", color=SECOND, capsize=4)
    axes.set_xticks(range(len(groups)), [name.replace(" to ", "\nto ") for name in names], fontsize=9)
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_ylim(-3, 103)
    label_axes(axes, what, PERCENT)
    told = [f"{name}: {rate(g['accuracy'])} {rates(g['interval'])}" for name, g in zip(names, groups, strict=True)]
    return figure, f"{title} on {where(record)}: {'; '.join(told)}."


def cloud(record: Record) -> Drawn:
    """Score differences against length differences, a dot for each pair."""
    values, part = record.get("values"), record["length"]
    if not values or part is None or part["correlation"] is None:
        return None
    x, y = (np.asarray(values[name], dtype=np.float64) for name in ("length", "difference"))
    step = -(-len(x) // MOST)
    x, y = x[::step], y[::step]
    figure, axes = axes_of(f"Score and length within pairs, {where(record)}")
    axes.axhline(0, color=INK, linewidth=1)
    axes.axvline(0, color=INK, linewidth=1)
    for chosen, color, mark, word in ((y > 0, SECOND, "o", "right"), (y <= 0, THIRD, "x", "not right")):
        axes.scatter(x[chosen], y[chosen], s=12, color=color, marker=mark, alpha=0.5, linewidths=0.8, label=word)
    label_axes(axes, "length, preferred minus other, tokens", "score, preferred minus other")
    axes.legend(fontsize=9, framealpha=0.7)
    told = f"correlation {number(part['correlation'], 2)} over {part['n']:,} pairs"
    return figure, f"Score difference against length difference of each pair, {where(record)}: {told}."


def learning_curve(record: Record) -> Drawn:
    """Accuracy over the number of prompts, with what twice as many would give."""
    points, twice = record["learning_curve"], record["twice_the_labels"]
    if not points:
        return None
    units = plural(record["trained_unit"])
    figure, axes = axes_of(f"Learning curve, {where(record)}")
    x, y = [point["prompts"] for point in points], [point["accuracy"] for point in points]
    either = 100 * around(y, [point["interval"] for point in points])
    axes.errorbar(x, [100 * v for v in y], yerr=either, fmt="o-", color=SECOND, capsize=3, label="the model")
    told = [f"{n:,} {units}: {rate(v)} {rates(p['interval'])}" for n, v, p in zip(x, y, points, strict=True)]
    if twice:
        either = 100 * around([twice["accuracy"]], [twice["interval"]])
        at = [x[-1], twice["prompts"]], [100 * (twice["accuracy"] - twice["gain"]), 100 * twice["accuracy"]]
        axes.plot(*at, color=THIRD, linestyle="--")
        axes.errorbar(at[0][1:], at[1][1:], yerr=either, fmt="^", color=THIRD, capsize=3, label="twice the labels")
        told.append(f"twice the labels: {rate(twice['accuracy'])} {rates(twice['interval'])}")
    _length_rule(axes, record)
    axes.set_xscale("log", base=2)
    ticks = sorted({*x, *([twice["prompts"]] if twice else [])})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=8)
    axes.minorticks_off()
    label_axes(axes, f"{units} that were trained on", PERCENT)
    axes.legend(fontsize=9, framealpha=0.7)
    return figure, f"Accuracy on {where(record)} by the number of {units} trained on: {'; '.join(told)}."


def _length_rule(axes: Any, record: Record) -> None:
    """The line that the curve must cross."""
    rule = next(each for each in record["baselines"] if each["name"] == LONGER)
    axes.axhline(100 * rule["accuracy"], color=FIRST, linewidth=1.4, linestyle=":", label=named(rule))


DRAWN: Drawings = (
    ("baselines", "report-baselines.png", "The model and its baselines", baselines),
    ("calibration", "report-reliability.png", "Accuracy by confidence", reliability),
    ("margin", "report-margin.png", "Accuracy by margin", margins),
    ("length", "report-length-difference.png", "Accuracy by length difference", length_differences),
    ("length", "report-length.png", "Score against length, a dot for each pair", cloud),
    ("curve", "report-learning-curve.png", "Accuracy over the amount of training data", learning_curve),
)
