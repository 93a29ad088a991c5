"""The figures of a report: scores, differences, lengths, win rates, score against KL."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlnlp.errors import one_line
from rlnlp.evaluate.page.drawing import (
    FIRST,
    INK,
    SECOND,
    SIZE,
    THIRD,
    Drawings,
    Drawn,
    Point,
    Record,
    around,
    axes_of,
    axis_name,
    draw,
    label_axes,
    points_in_lines,
)
from rlnlp.evaluate.page.numbers import SAYS, interval, number, percent, percents, places, signed
from rlnlp.evaluate.page.parts import Figure

SAME_LENGTH = "length-controlled"


def draw_figures(record: Record, directory: Path) -> list[Figure]:
    """The figures that ``record`` has data for, each written to ``directory`` too, and the curves of the run.

    Raises:
        OSError: the disk is full, or the directory cannot be written to.
    """
    figures = draw(DRAWN, record, directory)
    curves = Path(record["run"]) / "curves.png"
    if curves.is_file():
        beside = os.path.relpath(curves, directory)
        alt = "The metrics of training over its steps, a panel for each. Their values are in metrics.jsonl."
        figures.append(
            Figure("curves", beside, "Metrics of training over its steps", alt, curves.read_bytes(), wide=True)
        )
    return figures


def scores(record: Record) -> Drawn:
    """Box plots of the scores before and after."""
    values = (record.get("values") or {}).get("score")
    if values is None:
        return None
    sides = {side: _known(values[side]) for side in ("before", "after")}
    if not all(len(x) for x in sides.values()):
        return None
    figure, axes = axes_of("Score of each response")
    boxes = axes.boxplot(
        list(sides.values())[::-1], orientation="horizontal", widths=0.55, patch_artist=True, showmeans=True,
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": INK, "markersize": 6},
        medianprops={"color": INK, "linewidth": 1.6}, flierprops={"marker": ".", "markersize": 3, "alpha": 0.4},
    )  # fmt: skip
    for box, color in zip(boxes["boxes"], (SECOND, FIRST), strict=True):
        box.set(facecolor=color, alpha=0.55, edgecolor=INK)
    axes.set_yticks([1, 2], ["after", "before"], fontsize=10)
    label_axes(axes, "score (box: middle half, line: median, diamond: mean)")
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
    figure, axes = axes_of("Difference, after minus before", max(SIZE[1], 1.3 + 0.36 * len(known)))
    axes.axvline(0, color=INK, linewidth=1)
    points_in_lines(axes, known, THIRD)
    label_axes(axes, f"difference and its {SAYS}; at 0 nothing has changed")
    told = "; ".join(f"{one_line(name, 60)} {signed(x)} {interval(ends, sign=True)}" for name, x, ends in known)
    return figure, f"Differences with their {SAYS}s: {told}."


def lengths(record: Record) -> Drawn:
    """Histograms of the lengths before and after."""
    values = (record.get("values") or {}).get("length")
    if values is None:
        return None
    sides = {side: _known(values[side]) for side in ("before", "after")}
    if not all(len(x) for x in sides.values()):
        return None
    figure, axes = axes_of("Length of each response")
    most, least = max(x.max() for x in sides.values()), min(x.min() for x in sides.values())
    edges = np.linspace(least - 0.5, most + 0.5, int(min(most - least + 1, 40)) + 1)
    for (side, x), color, line in zip(sides.items(), (FIRST, SECOND), ("--", "-"), strict=True):
        weights = np.full(len(x), 100 / len(x))
        axes.hist(x, edges, weights=weights, color=color, alpha=0.3)
        axes.hist(x, edges, weights=weights, color=color, histtype="step", linewidth=1.8, linestyle=line, label=side)
    label_axes(axes, "tokens", "% of the responses")
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
    figure, axes = axes_of("Win rate of the trained policy", 1.3 + 0.36 * len(rows))
    axes.axvline(50, color=INK, linewidth=1)
    points_in_lines(axes, rows, SECOND)
    axes.set_xlim(-2, 102)
    label_axes(axes, f"% of the pairs, with its {SAYS}; at 50 neither side is better")
    return figure, f"Win rates with their {SAYS}s: {'; '.join(told)}."


def calibration(record: Record) -> Drawn:
    """How often each judge agrees with the reward, over the gap of the score."""
    judges = {name: rows for name, rows in (record.get("calibration") or {}).items() if rows}
    if not judges:
        return None
    figure, axes = axes_of("Does the judge agree?")
    axes.axhline(50, color=INK, linewidth=1)
    colors, marks = (SECOND, FIRST, THIRD), ("o-", "s--", "^:")
    for i, (name, rows) in enumerate(judges.items()):
        x, y = [row["gap"] for row in rows], [100 * row["agreement"] for row in rows]
        either = 100 * around([row["agreement"] for row in rows], [row["interval"] for row in rows])
        color, mark = colors[i % len(colors)], marks[i % len(marks)]
        axes.errorbar(x, y, yerr=either, fmt=mark, color=color, capsize=3, markersize=5, label=axis_name(name))
    axes.set_ylim(-3, 103)
    label_axes(axes, "gap of the score between two responses", f"% of the pairs, with its {SAYS}")
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
    figure, axes = axes_of("Score against KL", 3.9)
    if best:
        _curve(axes, best, FIRST, "s--", "best of n, first policy", [f"{row['n']}" for row in best])
    if kept:
        kept = sorted(kept, key=lambda row: row["step"])
        _curve(axes, kept, SECOND, "o-", "trained policy, by step", [f"{row['step']:,}" for row in kept])
    label_axes(axes, "square root of the KL from the first policy (nats per response)", "mean score")
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


DRAWN: Drawings = (
    ("changes", "report-scores.png", "Scores before and after", scores),
    ("changes", "report-differences.png", "Differences with their intervals", differences),
    ("changes", "report-lengths.png", "Lengths before and after", lengths),
    ("wins", "report-win-rates.png", "Win rates with their intervals", win_rates),
    ("calibration", "report-calibration.png", "Agreement of the judge with the reward", calibration),
    ("frontier", "report-frontier.png", "Score against the square root of the KL", frontier),
)
