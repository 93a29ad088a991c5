"""Bars of figures before and after training, each with its interval: ``before-after.png`` of an example."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlnlp.errors import one_line
from rlnlp.evaluate.page.drawing import FIRST, INK, SECOND, SIZE, axis_name, label_axes, png_of, style_axes
from rlnlp.evaluate.page.numbers import interval, number
from rlnlp.maths.accuracy import Estimate
from rlnlp.run.disk import replace

BAR, ROW, AROUND = 0.36, 0.62, 0.85  # a bar of its row; inches of a row, and of what stands around the rows of a unit
ROOM = 1.22  # the axis as a multiple of what is drawn, for the figures behind the bars


@dataclass(frozen=True)
class Compared:
    """A figure ``before`` and ``after`` with 95 % confidence intervals; figures of one ``unit`` share an axis.

    ``limits`` are the ends of the axis, such as 0 and 1 of a probability, and ``level`` is a line across the bars, such
    as the probability of a coin. Both are those of the first figure of the unit.
    """

    label: str
    before: Estimate
    after: Estimate
    unit: str = ""
    limits: tuple[float, float] | None = None
    level: float | None = None


def draw_before_after(
    figures: Sequence[Compared], title: str, path: Path, sides: tuple[str, str] = ("before", "after")
) -> str:
    """Write the picture to ``path``; what it shows in words.

    The width is that of a report's figures, whose letters can be read at the width of a phone.

    Raises:
        OSError: the disk is full, or the file cannot be written.
        ValueError: there is no figure.
    """
    figure = before_after(figures, title, sides)
    replace(path, png_of(figure))
    return told(figures, title, sides)


def before_after(figures: Sequence[Compared], title: str, sides: tuple[str, str]) -> Any:
    """The picture: the units below each other.

    Raises:
        ValueError: there is no figure.
    """
    if not figures:
        raise ValueError("there is no figure to be drawn")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    units: dict[str, list[Compared]] = {}
    for each in figures:
        units.setdefault(each.unit, []).append(each)
    heights = [AROUND + ROW * len(rows) for rows in units.values()]
    canvas = Canvas(figsize=(SIZE[0], 0.7 + sum(heights)), layout="constrained")
    FigureCanvasAgg(canvas)
    canvas.suptitle(title, fontsize=12, color=INK, parse_math=False)
    shared = canvas.subplots(len(units), squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, (unit, rows) in zip(shared, units.items(), strict=True):
        _bars(axes, unit, rows, sides)
    canvas.legend(
        *shared[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=10, frameon=False
    )
    return canvas


def _bars(axes: Any, unit: str, rows: Sequence[Compared], sides: tuple[str, str]) -> None:
    style_axes(axes, "")
    axes.grid(visible=False, axis="y")
    low, high = rows[0].limits or _limits(rows)
    height = np.arange(len(rows))[::-1].astype(float)
    size = _decimals(rows)
    for offset, side, color, found in (
        (BAR / 2, sides[0], FIRST, [row.before for row in rows]),
        (-BAR / 2, sides[1], SECOND, [row.after for row in rows]),
    ):
        values = np.array([each.value for each in found])
        ends = [_ends(each) for each in found]
        axes.barh(height + offset, values - low, left=low, height=BAR, color=color, alpha=0.6, label=side)
        either = [[v - a, b - v] for v, (a, b) in zip(values, ends, strict=True)]
        axes.errorbar(
            values, height + offset, xerr=np.maximum(0, np.array(either)).T, fmt="none", ecolor=INK, capsize=3,
            elinewidth=1.4,
        )  # fmt: skip
        for y, value, (_, end) in zip(height + offset, values, ends, strict=True):
            axes.annotate(
                number(float(value), size), (max(end, value), y), xytext=(5, 0), textcoords="offset points",
                va="center", fontsize=9, color=INK,
            )  # fmt: skip
    if rows[0].level is not None:
        axes.axvline(rows[0].level, color=INK, linewidth=1, linestyle=":")
    axes.set_xlim(low, low + ROOM * (high - low))
    if rows[0].limits:
        axes.set_xticks([tick for tick in axes.get_xticks() if low <= tick <= high])  # none in the room for figures
    axes.set_yticks(height, [axis_name(row.label) for row in rows], fontsize=10)
    axes.set_ylim(-0.55, len(rows) - 0.45)
    label_axes(axes, unit)


def _decimals(rows: Sequence[Compared]) -> int:
    return 2 if max(abs(side.value) for row in rows for side in (row.before, row.after)) < 1 else 1


def _limits(rows: Sequence[Compared]) -> tuple[float, float]:
    """0 and the largest end; below 0 too, where a figure is."""
    ends = [end for row in rows for side in (row.before, row.after) for end in (*_ends(side), side.value)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    return low, high if high > low else low + 1


def _ends(found: Estimate) -> tuple[float, float]:
    """The interval; the value itself where an end is not known."""
    low, high = (end if math.isfinite(end) else found.value for end in found.interval)
    return low, high


def told(figures: Sequence[Compared], title: str, sides: tuple[str, str]) -> str:
    """What the picture shows, in words."""
    parts = []
    for each in figures:
        size = _decimals([each])
        values = [
            f"{side} {number(found.value, size)} {interval(_ends(found), size)}"
            for side, found in zip(sides, (each.before, each.after), strict=True)
        ]
        parts.append(f"{one_line(each.label, 60)}: {', '.join(values)}{f' ({each.unit})' if each.unit else ''}")
    return f"{one_line(title, 200)}. {'; '.join(parts)}."
