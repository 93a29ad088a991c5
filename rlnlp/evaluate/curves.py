"""The curves of a run, and reading its metrics."""

import io
import json
import warnings
from collections.abc import Collection, Mapping
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from rlnlp.metrics import TERM, Metric, label, panels, smoothed
from rlnlp.run.disk import replace

ACROSS = 3  # panels in a row
Points = list[tuple[int, float]]
Ends = Mapping[str, tuple[float, float]]  # of a metric of held-out data: before and after training


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl``; an incomplete last line is left out."""
    rows = []
    for line in (directory / "metrics.jsonl").read_text().split("\n"):
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def draw(directory: Path, title: str, ends: Ends, unweighted: Collection[str], result_step: int) -> Path:
    """Write ``curves.png``: a panel for each row of the table of metrics that has one and that the run has logged.

    ``ends`` are drawn at step 0 and at ``result_step``, that of the weights in policy/; the reward terms
    ``unweighted``, of weight 0, are dashed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_metrics(directory)
    logged = {name for row in rows for name in row} | set(ends)
    starts = [now["step"] for before, now in pairwise(rows) if before.get("round") != now.get("round")]
    terms = sorted(name for name in logged if name.startswith("score/"))
    drawn = [(m, [n for name in m.names for n in (terms if name == TERM else [name]) if n in logged]) for m in panels()]
    drawn = [(metric, names) for metric, names in drawn if names]
    high = -(-len(drawn) // ACROSS)
    figure = Figure(figsize=(5 * min(ACROSS, len(drawn)), 0.5 + 3.2 * high), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, parse_math=False)
    for number, (metric, names) in enumerate(drawn, 1):
        axes = figure.add_subplot(high, min(ACROSS, len(drawn)), number)
        for name in names:
            dashed = name.removeprefix("score/") in unweighted
            _line(axes, name, _points(name, rows, ends, result_step), name == metric.names[0], dashed)
        if starts:
            axes.set_xlim(0, 1.02 * rows[-1]["step"])  # no stage has steps everywhere
        for start in starts:
            axes.axvline(start, color="black", linewidth=0.8, linestyle=":", alpha=0.6)
        _finish(axes, metric, len(names) > 1)
    path = directory / "curves.png"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a term's name: a box is drawn instead
        figure.savefig(picture := io.BytesIO(), format="png", dpi=110)
    replace(path, picture.getvalue())
    return path


def _points(name: str, rows: list[dict[str, Any]], ends: Ends, result_step: int) -> list[Points]:
    """The points of each line: of each stage of each round its own, of a run without stages one."""
    logged = [(row["step"], row[name], (row.get("round"), row.get("stage"))) for row in rows if name in row]
    if name in ends:
        old, new = ends[name]
        start, last = (logged[0][2], logged[-1][2]) if logged else 2 * ((None, None),)
        logged = [each for each in logged if each[0] not in (0, result_step)]
        logged = sorted([(0, old, start), *logged, (result_step, new, last)], key=lambda point: point[0])
    return [[(step, value) for step, value, _ in group] for _, group in groupby(logged, key=lambda point: point[2])]


def _line(axes: Any, name: str, lines: list[Points], main: bool, dashed: bool) -> None:
    """The raw line thin, the smoothed one over it; held-out figures, which are few, with a mark at each."""
    words = label(name)
    words = f" {words}" if words.startswith("_") else words  # matplotlib hides such labels
    style: dict[str, Any] = {"linewidth": 2 if main else 1.2, "linestyle": "--" if dashed else "-"}
    held = name.startswith("heldout/")
    color = "black" if held else None  # the next one
    for i, points in enumerate(lines):
        steps, values = zip(*points, strict=True)
        style["label"] = words if i == 0 else None
        if held:
            axes.plot(steps, values, color=color, marker="o", markersize=4, **style)
            continue
        (line,) = axes.plot(steps, smoothed(values), color=color, alpha=1 if main else 0.8, **style)
        color = line.get_color()
        axes.plot(steps, values, color=color, linewidth=0.8, alpha=0.3, linestyle=style["linestyle"])


def _finish(axes: Any, metric: Metric, several: bool) -> None:
    axes.set_title(metric.panel, fontsize=10)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    if several:
        for text in axes.legend(fontsize=7, framealpha=0.6).get_texts():
            text.set_parse_math(False)  # a dollar in a term's name is a dollar
