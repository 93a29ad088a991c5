"""A panel of a picture as data, how it is drawn, and what it shows in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rlnlp.evaluate.page.drawing import INK, around, label_axes, style_axes
from rlnlp.evaluate.page.numbers import interval, number, places
from rlnlp.evaluate.rounds.history import Point

TICKS = 8  # rounds that are named below an axis at most
BESIDE = 0.08  # of a round: how far the points of two series in one round are apart
LONG = 24  # characters of a label that two columns have room for
TOLD = 12  # points of a series that are told in words at most


@dataclass(frozen=True)
class Series:
    """Points joined by a line of ``style``, as matplotlib has it; ``faint`` ones are the raw figures behind another.

    One without a ``label`` is part of another: neither the legend nor the words have it.
    """

    label: str
    points: Sequence[Point]
    color: str
    style: str = "o-"
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """``series`` over the axis ``x``, and ``right`` those that have the axis on the right, ``y_right``.

    ``rounds`` are those that the axis below names, if it is one of rounds. ``level`` is a horizontal line, ``starts``
    are where rounds begin, and ``mark`` is a place on the axis below with what is there. Without ``legend`` the labels
    are only told in words.
    """

    key: str
    title: str
    x: str
    y: str
    series: Sequence[Series]
    right: Sequence[Series] = ()
    y_right: str = ""
    rounds: Sequence[int] = ()
    level: float | None = None
    starts: Sequence[Point] = ()
    mark: tuple[float, str] | None = None
    legend: bool = True

    @property
    def alt(self) -> str:
        """What it shows, for whoever does not see it."""
        told = [f"{each.label}: {_told(each, bool(self.rounds))}" for each in (*self.series, *self.right) if each.label]
        return ". ".join([self.title, *told, *([self.mark[1]] if self.mark else [])]) + "."


def draw_panel(axes: Any, panel: Panel) -> None:
    """Draw it on empty axes of matplotlib."""
    style_axes(axes, panel.title)
    label_axes(axes, panel.x, panel.y)
    if panel.level is not None:
        axes.axhline(panel.level, color=INK, linewidth=1, linestyle=":")
    for start in panel.starts:
        axes.axvline(start.x, color=INK, linewidth=0.8, linestyle=":", alpha=0.6)
    handles = list(_lines(axes, panel.series, BESIDE if panel.rounds else 0.0))
    if panel.right:
        handles += _on_the_right(axes, panel)
    if panel.rounds:
        _name_rounds(axes, panel.rounds)
    if panel.mark:
        x, words = panel.mark
        handles.append(axes.axvline(x, color=INK, linewidth=1.2, linestyle="--", label=words))
    if panel.legend and len(handles) > 1:
        columns = 1 if any(len(line.get_label()) > LONG for line in handles) else 2
        down = -0.17 - 0.06 * panel.x.count("\n")  # below the words of the axis, so that no point is hidden
        axes.legend(handles=handles, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, down), ncols=columns)


def _lines(axes: Any, series: Sequence[Series], apart: float = 0.0) -> Iterator[Any]:
    """Draw the series, each ``apart`` from the next, so that no interval hides another."""
    for i, each in enumerate(series):
        aside = apart * (i - (len(series) - 1) / 2)
        x, y = [point.x + aside for point in each.points], [point.y for point in each.points]
        look = {"linewidth": 0.8, "alpha": 0.3} if each.faint else {"linewidth": 1.6}
        (line,) = axes.plot(x, y, each.style, color=each.color, markersize=5, label=each.label or None, **look)
        if any(point.interval for point in each.points):
            either = around(y, [point.interval for point in each.points])
            axes.errorbar(x, y, yerr=either, fmt="none", ecolor=each.color, elinewidth=1.6, capsize=3, alpha=0.7)
        if each.label:
            yield line


def _on_the_right(axes: Any, panel: Panel) -> list[Any]:
    """The series with an axis of their own; both axes have the color of their series, and 0 at one height."""
    other = axes.twinx()
    handles = list(_lines(other, panel.right))
    other.spines[["top", "left"]].set_visible(False)
    label_axes(other, y=panel.y_right)
    for each, color in ((axes, panel.series[0].color), (other, panel.right[0].color)):
        each.tick_params(axis="y", labelsize=9, colors=color)
        each.yaxis.label.set_color(color)
    ends = [_with_0(each.get_ylim()) for each in (axes, other)]
    below = max(-low / (high - low) for low, high in ends)
    for each, (low, high) in zip((axes, other), ends, strict=True):
        each.set_ylim(min(low, -high * below / (1 - below)) if below < 1 else low, high)
    axes.axhline(0, color=INK, linewidth=1)
    return handles


def _with_0(ends: tuple[float, float]) -> tuple[float, float]:
    """The ends of an axis with 0 inside, and some room above it."""
    low, high = min(0.0, ends[0]), max(0.0, ends[1])
    return low, max(high, 0.1 * (high - low), 1e-9)


def _name_rounds(axes: Any, rounds: Sequence[int]) -> None:
    step = -(-len(rounds) // TICKS)
    named = [each for each in rounds if each % step == 0]
    axes.set_xticks(named, ["first" if each == 0 else f"{each}" for each in named])
    axes.set_xlim(min(rounds) - 0.4, max(rounds) + 0.4)


def _told(series: Series, by_round: bool) -> str:
    """Its points; of many some, the first and the last among them."""
    count = len(series.points)
    some = sorted({round(i * (count - 1) / (TOLD - 1)) for i in range(TOLD)}) if count > TOLD else range(count)
    size = places(*(point.y for point in series.points))
    return ", ".join(_point_words(series.points[i], size, by_round) for i in some)


def _point_words(point: Point, size: int, by_round: bool) -> str:
    where = f"{point.x:,.4g}" if not by_round else "first policy" if point.x == 0 else f"round {point.x:.0f}"
    return f"{number(point.y, size)} {interval(point.interval, size)}".rstrip() + f" at {where}"
