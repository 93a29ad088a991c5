"""The display of a run: a live table in a terminal, plain lines elsewhere."""

import io
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any, Protocol, TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from rlnlp.errors import one_line, safe_text
from rlnlp.metrics import LIVE

IN_LINE = 5  # so many of the live metrics are in the line of a step
BARS = "▁▂▃▄▅▆▇█"


class Display(Protocol):
    """Shows the progress of a run."""

    def begin(self, total: int) -> None:
        """Start the display of ``total`` steps."""
        ...

    def step(self, step: int, row: Mapping[str, float], timing: Mapping[str, float]) -> str:
        """Show a step that is done; return its line for train.log."""
        ...

    def sample(self, prompt: str, response: str, score: float | None) -> None:
        """Show a response of the policy."""
        ...

    def log_message(self, text: str) -> None:
        """Show a line."""
        ...

    def close(self) -> None:
        """Restore the terminal."""
        ...


class BestEffortStream(io.TextIOBase):
    """A stream whose errors are ignored: training goes on though nobody reads its output."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write; ignore an error."""
        with suppress(OSError, ValueError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush; ignore an error."""
        with suppress(OSError, ValueError):
            self.stream.flush()

    def isatty(self) -> bool:
        """True for a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """The file descriptor of the stream."""
        return self.stream.fileno()


def display() -> Display:
    """A live display in a terminal, plain lines elsewhere; on stderr, so that stdout holds results only."""
    stream = BestEffortStream(sys.stderr)
    console = Console(file=cast(IO[str], stream), highlight=False)
    return LiveDisplay(console) if console.is_terminal and not console.is_dumb_terminal else PlainDisplay(stream)


class PlainDisplay:
    """Prints a line for each of about twenty steps of the run."""

    def __init__(self, stream: BestEffortStream) -> None:
        self.stream = stream
        self.total = 0

    def begin(self, total: int) -> None:
        """Start."""
        self.total = total

    def step(self, step: int, row: Mapping[str, float], timing: Mapping[str, float]) -> str:
        """Print the line of about every twentieth part of the run."""
        line = step_line(step, self.total, row, timing)
        if step in (1, self.total) or step % max(1, self.total // 20) == 0:
            self.log_message(line)
        return line

    def sample(self, prompt: str, response: str, score: float | None) -> None:
        """Print one line."""
        self.log_message(f"  {_score(score)}{one_line(prompt, 80)} | {one_line(response, 160)}")

    def log_message(self, text: str) -> None:
        """Print."""
        print(safe_text(text), file=self.stream, flush=True)

    def close(self) -> None:
        """Nothing to restore."""


class LiveDisplay:
    """Progress, the latest metrics with their change since the start, a curve of the score, the last sample."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(), console=console,
        )  # fmt: skip
        self.first: dict[str, float] = {}
        self.row: dict[str, float] = {}
        self.scores: list[float] = []
        self.speed = 0.0
        self.latest: RenderableType = Text("")
        self.live: Live | None = None

    def begin(self, total: int) -> None:
        """Start drawing."""
        self.task = self.progress.add_task("training", total=total)
        self.live = Live(self._render(), console=self.console, refresh_per_second=4)
        self.live.start()

    def step(self, step: int, row: Mapping[str, float], timing: Mapping[str, float]) -> str:
        """Draw the new metrics."""
        self.row, self.speed = {**self.row, **row}, timing["tokens_per_second"]
        self.first = {**row, **self.first}
        self.scores += [row["score"]] if "score" in row else [-row["loss"]] if "loss" in row else []
        self.progress.update(self.task, completed=step)
        if self.live is not None:
            self.live.update(self._render())
        return step_line(step, int(self.progress.tasks[self.task].total or 0), row, timing)

    def sample(self, prompt: str, response: str, score: float | None) -> None:
        """Show the response under the metrics."""
        text = Text(_score(score), style="bold")
        self.latest = text.append(one_line(prompt, 120), style="dim").append(
            " " + one_line(response, 240), style="italic not bold"
        )

    def log_message(self, text: str) -> None:
        """Print above the table."""
        self.console.print(Text(safe_text(text)))

    def close(self) -> None:
        """Stop drawing; the last table stays."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _render(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for name in [n for n in LIVE if n in self.row]:
            change = self.row[name] - self.first[name]
            table.add_row(name, f"{self.row[name]:.4g}", Text(f"{change:+.3g} since the start", style="dim"))
        table.add_row("tokens/s", f"{self.speed:.0f}", "")
        return Group(self.progress, Text(sparkline(self.scores[-60:]), style="green"), table, self.latest)


def step_line(step: int, total: int, row: Mapping[str, float], timing: Mapping[str, float]) -> str:
    """The metrics of a step on one line."""
    shown = "  ".join(f"{name} {row[name]:.3f}" for name in LIVE[:IN_LINE] if name in row)
    return f"step {step}/{total}  {shown}  {timing['tokens_per_second']:.0f} tokens/s"


def sparkline(values: list[float]) -> str:
    """``values`` as a line of block characters."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((v - low) * scale)] for v in values)


def _score(score: float | None) -> str:
    return "" if score is None else f"[{score:.2f}] "


def as_text(value: Any) -> Text:
    """Text for rich without markup or terminal control characters."""
    return Text(safe_text(str(value)))
