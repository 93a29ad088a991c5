"""Pictures of a run."""

import json
from pathlib import Path
from typing import Any

PANELS = (
    ("score", ("score", "heldout/score")), ("KL to the start, nats per response", ("kl", "heldout/kl")),
    ("entropy, nats per token", ("entropy",)), ("loss, nats per token", ("loss", "heldout/loss")),
    ("response length, tokens", ("response_tokens",)), ("gradient norm", ("grad_norm",)),
)  # fmt: skip


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl``; a torn last line is left out."""
    rows = []
    for line in (directory / "metrics.jsonl").read_text().split("\n"):
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def draw(directory: Path) -> Path:
    """Write ``curves.png``: a panel for each family of figures that the run has, the reward's terms with the score."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_metrics(directory)
    names = {name for row in rows for name in row}
    terms = sorted(name for name in names if name.startswith("score/"))
    panels = [
        (title, [n for n in (*keys, *(terms if title == "score" else ())) if n in names]) for title, keys in PANELS
    ]
    panels = [(title, keys) for title, keys in panels if keys]
    figure = Figure(figsize=(5 * min(3, len(panels)), 3.2 * -(-len(panels) // 3)), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (title, keys) in enumerate(panels, 1):
        axes = figure.add_subplot(-(-len(panels) // 3), min(3, len(panels)), number)
        for key in keys:
            points = [(row["step"], row[key]) for row in rows if key in row]
            main = key in ("score", *dict(PANELS)[title])
            axes.plot(*zip(*points, strict=True), label=key, linewidth=2 if main else 1, alpha=1 if main else 0.6)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if len(keys) > 1:
            axes.legend(fontsize=7)
    path = directory / "curves.png"
    figure.savefig(path, dpi=110)
    return path
