"""The figures of a report: scores, differences, lengths, win rates, score against KL."""

import io
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlnlp.errors import one_line
from rlnlp.evaluate.page.numbers import SAYS, interval, number, percent, percents, places, signed
from rlnlp.evaluate.page.parts import Figure
from rlnlp.run.disk import replace

Record = Mapping[str, Any]
BEFORE, AFTER, THIRD, INK = (
    "#8a6d00",
    "#0072b2",
    "#b3446c",
    "#333333",
)  # told apart by the color-blind, and by their marks
SIZE, DOTS = (5.4, 3.7), 200  # inches, and dots per inch: letters that can be read at the width of a phone
LABEL = 26  # characters of a name beside an axis
SAME_LENGTH = "length-controlled"


def draw_figures(record: Record, directory: Path) -> list[Figure]:
    """The figures that ``record`` has data for, each written to ``directory`` too, and the curves of the run.

    Raises:
        OSError: the disk is full, or the directory cannot be written to.
    """
    figures = []
    for section, name, title, draw in DRAWN:
        drawn = draw(record)
        if drawn is not None:
            figure, alt = drawn
            png = _png(figure)
            replace(directory / name, png)
            figures.append(Figure(section, name, title, alt, png))
    curves = Path(record["run"]) / "curves.png"
    if curves.is_file():
        beside = os.path.relpath(curves, directory)
        alt = "The metrics of training over its steps, a panel for each. Their values are in metrics.jsonl."
        figures.append(
            Figure("curves", beside, "Metrics of training over its steps", alt, curves.read_bytes(), wide=True)
        )
    return figures


Drawn = tuple[Any, str] | None  # a figure and what it shows in words
Point = tuple[str, float, Sequence[float]]  # a name, a figure and its interval


def _axes(title: str, height: float = SIZE[1]) -> tuple[Any, Any]:
    """An empty figure with one pair of axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(SIZE[0], height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11, loc="left", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=INK)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    return figure, axes


def _png(figure: Any) -> bytes:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a name: a box is drawn instead
        figure.savefig(picture := io.BytesIO(), format="png", dpi=DOTS, facecolor="white")
    return picture.getvalue()


def _named(text: str) -> str:
    return one_line(text, LABEL).replace("$", r"\$")  # a dollar is a dollar, not the start of a formula


def scores(record: Record) -> Drawn:
    """Box plots of the scores before and after."""
    values = (record.get("values") or {}).get("score")
    if values is None:
        return None
    sides = {side: _known(values[side]) for side in ("before", "after")}
    if not all(len(x) for x in sides.values()):
        return None
    figure, axes = _axes("Score of each response")
    boxes = axes.boxplot(
        list(sides.values())[::-1], orientation="horizontal", widths=0.55, patch_artist=True, showmeans=True,
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": INK, "markersize": 6},
        medianprops={"color": INK, "linewidth": 1.6}, flierprops={"marker": ".", "markersize": 3, "alpha": 0.4},
    )  # fmt: skip
    for box, color in zip(boxes["boxes"], (AFTER, BEFORE), strict=True):
        box.set(facecolor=color, alpha=0.55, edgecolor=INK)
    axes.set_yticks([1, 2], ["after", "before"], fontsize=10)
    axes.set_xlabel("score (box: middle half, line: median, diamond: mean)", fontsize=9, color=INK)
    told = "; ".join(f"{side}: {_quartiles(x)}" for side, x in sides.items())
    return figure, f"Box plots of the scores of all responses. {told}."


def _known(x: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    flat = np.asarray(x, dtype=np.float64).reshape(-1)
    return flat[np.isfinite(flat)]


def _quartiles(x: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    low, middle, high = np.quantile(x, [0.25, 0.5, 0.75])
    size = places(low, high)
    return (
        f"median {number(float(middle), size)}, middle half {number(float(low), size)} to {number(float(high), size)},"
        f" mean {number(float(x.mean()), size)}"
    )


def differences(record: Record) -> Drawn:
    """The differences of the score and of its terms, with their intervals."""
    rows = {"score": record["score"]} if record.get("score") else {}
    rows |= {**(record.get("terms") or {}), **(record.get("judges") or {})}
    known = [
        (name, row["difference"], row["difference_interval"])
        for name, row in rows.items()
        if row["difference_interval"]
    ]
    if len(known) < 2:
        return None
    figure, axes = _axes("Difference, after minus before", max(SIZE[1], 1.3 + 0.36 * len(known)))
    axes.axvline(0, color=INK, linewidth=1)
    _points(axes, known, THIRD)
    axes.set_xlabel(f"difference and its {SAYS}; at 0 nothing has changed", fontsize=9, color=INK)
    told = "; ".join(f"{one_line(name, 60)} {signed(x)} {interval(ends, sign=True)}" for name, x, ends in known)
    return figure, f"Differences with their {SAYS}s: {told}."


def _points(axes: Any, rows: Sequence[Point], color: str) -> None:
    """A point with its interval in each line, the first on top."""
    for height, (_, x, ends) in enumerate(reversed(rows)):
        either = [[max(0, x - ends[0])], [max(0, ends[1] - x)]]
        axes.errorbar(x, height, xerr=either, fmt="o", color=color, capsize=4, markersize=6, elinewidth=2)
    axes.set_yticks(range(len(rows)), [_named(name) for name, _, _ in reversed(rows)], fontsize=10)
    axes.set_ylim(-0.6, len(rows) - 0.4)


def lengths(record: Record) -> Drawn:
    """Histograms of the lengths before and after."""
    values = (record.get("values") or {}).get("length")
    if values is None:
        return None
    sides = {side: _known(values[side]) for side in ("before", "after")}
    if not all(len(x) for x in sides.values()):
        return None
    figure, axes = _axes("Length of each response")
    most, least = max(x.max() for x in sides.values()), min(x.min() for x in sides.values())
    edges = np.linspace(least - 0.5, most + 0.5, int(min(most - least + 1, 40)) + 1)
    for (side, x), color, line in zip(sides.items(), (BEFORE, AFTER), ("--", "-"), strict=True):
        weights = np.full(len(x), 100 / len(x))
        axes.hist(x, edges, weights=weights, color=color, alpha=0.3)
        axes.hist(x, edges, weights=weights, color=color, histtype="step", linewidth=1.8, linestyle=line, label=side)
    axes.set_xlabel("tokens", fontsize=9, color=INK)
    axes.set_ylabel("% of the responses", fontsize=9, color=INK)
    axes.legend(fontsize=9, framealpha=0.7)
    told = "; ".join(f"{side}: {_quartiles(x)}" for side, x in sides.items())
    return figure, f"Histograms of the lengths of all responses in tokens. {told}."


def win_rates(record: Record) -> Drawn:
    """Win rates with their intervals, raw and length-controlled."""
    rows: list[Point] = []
    told = []
    for name, row in (record.get("win_rates") or {}).items():
        controlled = row.get("length_controlled")
        rates = [(name, "", row["win_rate"], row["win_rate_interval"])]
        rates += [(SAME_LENGTH, SAME_LENGTH, controlled["win_rate"], controlled["interval"])] if controlled else []
        for label, how, x, ends in rates:
            if x is not None and ends:
                rows.append((label, 100 * x, [100 * end for end in ends]))
                told.append(f"by {' '.join([one_line(name, 60), how]).strip()} {percent(x)} {percents(ends)}")
    if not rows:
        return None
    figure, axes = _axes("Win rate of the trained policy", 1.3 + 0.36 * len(rows))
    axes.axvline(50, color=INK, linewidth=1)
    _points(axes, rows, AFTER)
    axes.set_xlim(-2, 102)
    axes.set_xlabel(f"% of the pairs, with its {SAYS}; at 50 neither side is better", fontsize=9, color=INK)
    return figure, f"Win rates with their {SAYS}s: {'; '.join(told)}."


def calibration(record: Record) -> Drawn:
    """How often each judge agrees with the reward, over the gap of the score."""
    judges = {name: rows for name, rows in (record.get("calibration") or {}).items() if rows}
    if not judges:
        return None
    figure, axes = _axes("Does the judge agree?")
    axes.axhline(50, color=INK, linewidth=1)
    colors, marks = (AFTER, BEFORE, THIRD), ("o-", "s--", "^:")
    for i, (name, rows) in enumerate(judges.items()):
        x, y = [row["gap"] for row in rows], [100 * row["agreement"] for row in rows]
        ends = [100 * np.asarray(row["interval"] or [row["agreement"]] * 2) for row in rows]
        either = np.maximum(0, [[at - low, high - at] for at, (low, high) in zip(y, ends, strict=True)]).T
        color, mark = colors[i % len(colors)], marks[i % len(marks)]
        axes.errorbar(x, y, yerr=either, fmt=mark, color=color, capsize=3, markersize=5, label=_named(name))
    axes.set_ylim(-3, 103)
    axes.set_xlabel("gap of the score between two responses", fontsize=9, color=INK)
    axes.set_ylabel(f"% of the pairs, with its {SAYS}", fontsize=9, color=INK)
    axes.legend(fontsize=9, framealpha=0.7)
    told = [
        f"{one_line(name, 60)} {percent(row['agreement'])} {percents(row['interval'])} at {number(row['gap'])}"
        for name, rows in judges.items()
        for row in rows
    ]
    return figure, f"How often a judge agrees with the reward, by the gap of the score: {'; '.join(told)}."


def frontier(record: Record) -> Drawn:
    """Score against the square root of the KL: the policies that the run kept, and the best of n as a line."""
    kept, best = record.get("frontier") or [], record.get("best_of_n") or []
    kept = [row for row in kept if row["kl"] is not None and 0 <= row["kl"] < math.inf]
    if not kept and len(best) < 2:
        return None
    figure, axes = _axes("Score against KL", 3.9)
    if best:
        _curve(axes, best, BEFORE, "s--", "best of n, first policy", [f"{row['n']}" for row in best])
    if kept:
        kept = sorted(kept, key=lambda row: row["step"])
        _curve(axes, kept, AFTER, "o-", "trained policy, by step", [f"{row['step']:,}" for row in kept])
    axes.set_xlabel("square root of the KL from the first policy (nats per response)", fontsize=9, color=INK)
    axes.set_ylabel("mean score", fontsize=9, color=INK)
    axes.margins(0.1)
    axes.legend(fontsize=9, framealpha=0.7)
    told = [f"best of {row['n']}: KL {row['kl']:.2f}, score {number(row['score'])}" for row in best]
    told += [f"step {row['step']:,}: KL {row['kl']:.2f}, score {number(row['score'])}" for row in kept]
    return figure, f"Score against the square root of the KL. {'; '.join(told)}."


def _curve(axes: Any, rows: Sequence[Record], color: str, style: str, label: str, marks: Sequence[str]) -> None:
    """Points with what is known of their intervals, joined by a line, each with its mark."""
    x, y = [row["kl"] ** 0.5 for row in rows], [row["score"] for row in rows]
    axes.plot(x, y, style, color=color, markersize=5, linewidth=1.4, label=label)
    for row, at, height in zip(rows, x, y, strict=True):
        if row.get("interval"):
            axes.vlines(at, *row["interval"], color=color, linewidth=2, alpha=0.6)
        if row.get("kl_interval"):
            left, right = (max(0, end) ** 0.5 for end in row["kl_interval"])
            axes.hlines(height, left, right, color=color, linewidth=2, alpha=0.6)
    for i in _marked(len(marks)):
        below = style.startswith("s")
        axes.annotate(
            marks[i], (x[i], y[i]), xytext=(6, -12 if below else 7), textcoords="offset points", fontsize=8, color=color
        )


def _marked(points: int, most: int = 8) -> list[int]:
    """Which points have their mark beside them: at most so many, the first and the last among them."""
    return sorted({round(i) for i in np.linspace(0, points - 1, min(most, points))})


DRAWN: tuple[tuple[str, str, str, Callable[[Record], Drawn]], ...] = (
    ("changes", "report-scores.png", "Scores before and after", scores),
    ("changes", "report-differences.png", "Differences with their intervals", differences),
    ("changes", "report-lengths.png", "Lengths before and after", lengths),
    ("wins", "report-win-rates.png", "Win rates with their intervals", win_rates),
    ("calibration", "report-calibration.png", "Agreement of the judge with the reward", calibration),
    ("frontier", "report-frontier.png", "Score against the square root of the KL", frontier),
)
