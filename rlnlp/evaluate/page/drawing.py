"""How the figures of reports are drawn: their colors, axes, intervals and files."""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlnlp.errors import one_line
from rlnlp.evaluate.page.parts import Figure
from rlnlp.run.disk import replace

Record = Mapping[str, Any]
FIRST, SECOND, THIRD, INK = "#8a6d00", "#0072b2", "#b3446c", "#333333"  # told apart by the color-blind
SIZE, DOTS = (5.4, 3.7), 200  # inches, and dots per inch: letters that can be read at the width of a phone
LABEL = 26  # characters of a name beside an axis
Drawn = tuple[Any, str] | None  # a figure and what it shows in words
Point = tuple[str, float, Sequence[float]]  # a name, a figure and its interval
Drawings = Sequence[tuple[str, str, str, Callable[[Record], Drawn]]]  # section, file, title, how it is drawn


def draw(drawings: Drawings, record: Record, directory: Path) -> list[Figure]:
    """The figures that ``record`` has data for, each written to ``directory`` too.

    Raises:
        OSError: the disk is full, or the directory cannot be written to.
    """
    figures = []
    for section, name, title, make in drawings:
        drawn = make(record)
        if drawn is not None:
            figure, alt = drawn
            png = png_of(figure)
            replace(directory / name, png)
            figures.append(Figure(section, name, title, alt, png))
    return figures


def axes_of(title: str, height: float = SIZE[1]) -> tuple[Any, Any]:
    """An empty figure with one pair of axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(SIZE[0], height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    style_axes(axes, title)
    return figure, axes


def style_axes(axes: Any, title: str) -> None:
    """Axes as all figures of reports have them."""
    axes.set_title(title, fontsize=11, loc="left", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=INK)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)


def label_axes(axes: Any, x: str = "", y: str = "") -> None:
    """Words below and beside the axes."""
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)


def png_of(figure: Any, dots: int = DOTS) -> bytes:
    """The figure as a file, with so many dots per inch."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a name: a box is drawn instead
        figure.savefig(picture := io.BytesIO(), format="png", dpi=dots, facecolor="white")
    return picture.getvalue()


def axis_name(text: str) -> str:
    """A name beside an axis; a dollar is a dollar, not the start of a formula."""
    return one_line(text, LABEL).replace("$", r"\$")


def points_in_lines(axes: Any, rows: Sequence[Point], color: str) -> None:
    """A point with its interval in each line, the first on top."""
    for height, (_, x, ends) in enumerate(reversed(rows)):
        either = [[max(0, x - ends[0])], [max(0, ends[1] - x)]]
        axes.errorbar(x, height, xerr=either, fmt="o", color=color, capsize=4, markersize=6, elinewidth=2)
    axes.set_yticks(range(len(rows)), [axis_name(name) for name, _, _ in reversed(rows)], fontsize=10)
    axes.set_ylim(-0.6, len(rows) - 0.4)


def around(values: Sequence[float], intervals: Sequence[Sequence[float] | None]) -> Any:
    """How far each interval reaches below and above its value, (2, N); 0 where none is known."""
    ends = [known if known is not None else (at, at) for at, known in zip(values, intervals, strict=True)]
    either = [[at - low, high - at] for at, (low, high) in zip(values, ends, strict=True)]
    return np.maximum(0, np.array(either, dtype=np.float64).reshape(len(values), 2)).T
