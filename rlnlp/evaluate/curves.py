"""The curves of a run, and reading its metrics."""

import json
from pathlib import Path
from typing import Any

from rlnlp.metrics import TERM, panels


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl``; an incomplete last line is left out."""
    rows = []
    for line in (directory / "metrics.jsonl").read_text().split("\n"):
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def draw(directory: Path) -> Path:
    """Write ``curves.png``: a panel for each row of the table of metrics that has one and that the run has logged."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_metrics(directory)
    logged = {name for row in rows for name in row}
    terms = sorted(name for name in logged if name.startswith("score/"))
    drawn = []
    for metric in panels():
        names = [n for name in metric.names for n in (terms if name == TERM else [name]) if n in logged]
        drawn += [(metric, names)] if names else []
    figure = Figure(figsize=(5 * min(3, len(drawn)), 3.2 * -(-len(drawn) // 3)), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (metric, names) in enumerate(drawn, 1):
        axes = figure.add_subplot(-(-len(drawn) // 3), min(3, len(drawn)), number)
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            main = name in metric.names
            axes.plot(*zip(*points, strict=True), label=name, linewidth=2 if main else 1, alpha=1 if main else 0.6)
        axes.set_title(metric.panel, fontsize=10)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend(fontsize=7)
    path = directory / "curves.png"
    figure.savefig(path, dpi=110)
    return path
