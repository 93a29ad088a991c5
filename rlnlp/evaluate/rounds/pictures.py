"""``history.png``: the panels of an RLHF run side by side; and the same figures for a report, each its own picture."""

from pathlib import Path
from typing import Any

from rlnlp.evaluate.page.drawing import INK, SIZE, axes_of, png_of
from rlnlp.evaluate.page.parts import Figure
from rlnlp.evaluate.rounds.history import History
from rlnlp.evaluate.rounds.panel import Panel, draw_panel
from rlnlp.evaluate.rounds.panels import panels
from rlnlp.run.disk import replace

NAME = "history.png"
SIDE, HIGH, DOTS = 4.6, 3.5, 110  # inches of a panel, and dots per inch


def draw_history(history: History, directory: Path, title: str) -> Path | None:
    """Write ``history.png`` into ``directory``; None if no panel has data.

    Raises:
        OSError: the disk is full, or the directory cannot be written to.
    """
    shown = panels(history)
    if not shown:
        return None
    path = directory / NAME
    replace(path, png_of(grid(shown, title), DOTS))
    return path


def grid(shown: list[Panel], title: str) -> Any:
    """A figure with the panels in rows of two to four."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    across = min(len(shown), {4: 2, 7: 4, 8: 4, 10: 4}.get(len(shown), 3))  # so that few places are empty
    high = -(-len(shown) // across)
    figure = Canvas(figsize=(SIDE * across, 0.5 + HIGH * high), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, color=INK, parse_math=False)
    for place, panel in enumerate(shown, 1):
        draw_panel(figure.add_subplot(high, across, place), panel)
    return figure


def draw_panels(history: History, section: str, directory: Path) -> list[Figure]:
    """Each panel as a figure of ``section`` of a report, written to ``directory`` too.

    Raises:
        OSError: as ``draw_history``.
    """
    figures = []
    for panel in panels(history):
        figure, axes = axes_of(panel.title, SIZE[1])
        draw_panel(axes, panel)
        png = png_of(figure)
        name = f"report-rounds-{panel.key}.png"
        replace(directory / name, png)
        figures.append(Figure(section, name, panel.title, panel.alt, png))
    return figures
