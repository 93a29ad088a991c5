"""What a person sees while a run works: a live table in a terminal, plain lines elsewhere."""

import io
import sys
import time
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

IN_LINE = 5  # of the live metrics, these many stand in the line of a step
BARS = "▁▂▃▄▅▆▇█"


class Display(Protocol):
    """Where a run tells of itself."""

    def begin(self, total: int) -> None:
        """Training of ``total`` steps starts."""
        ...

    def step(self, step: int, row: Mapping[str, float], timing: Mapping[str, float]) -> str:
        """A step is done; the line that says so, for train.log."""
        ...

    def sample(self, prompt: str, response: str, score: float | None) -> None:
        """A response of the policy."""
        ...

    def say(self, text: str) -> None:
        """A line of its own."""
        ...

    def close(self) -> None:
        """Leave the terminal in order."""
        ...


class BestEffortStream(io.TextIOBase):
    """A stream whose reader may go away: what cannot be written any more is not, and training goes on."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write, or do without."""
        with suppress(OSError, ValueError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or do without."""
        with suppress(OSError, ValueError):
            self.stream.flush()

    def isatty(self) -> bool:
        """True for a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """The stream's own."""
        return self.stream.fileno()


def display() -> Display:
    """A live display in a terminal, plain lines elsewhere; on stderr, so that stdout holds results only."""
    stream = BestEffortStream(sys.stderr)
    console = Console(file=cast(IO[str], stream), highlight=False)
    return LiveDisplay(console) if console.is_terminal and not console.is_dumb_terminal else PlainDisplay(stream)


class PlainDisplay:
    """One line for about twenty steps of the run."""

    def __init__(self, stream: BestEffortStream) -> None:
        self.stream = stream
        self.total, self.first = 0, 0.0
        self.begun = time.monotonic()

    def begin(self, total: int) -> None:
        """Take the length of the run."""
        self.total, self.begun = total, time.monotonic()

    def step(self, step: int, row: Mapping[str, float], timing: Mapping[str, float]) -> str:
        """Print now and then."""
        line = step_line(step, self.total, row, timing)
        if step in (1, self.total) or step % max(1, self.total // 20) == 0:
            self.say(line)
        return line

    def sample(self, prompt: str, response: str, score: float | None) -> None:
        """Print one line."""
        self.say(f"  {_score(score)}{one_line(prompt, 80)} | {one_line(response, 160)}")

    def say(self, text: str) -> None:
        """Print at once."""
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
        self.live = Live(self._picture(), console=self.console, refresh_per_second=4)
        self.live.start()

    def step(self, step: int, row: Mapping[str, float], timing: Mapping[str, float]) -> str:
        """Draw the new figures."""
        self.row, self.speed = {**self.row, **row}, timing["tokens_per_second"]
        self.first = {**row, **self.first}
        self.scores += [row["score"]] if "score" in row else [-row["loss"]] if "loss" in row else []
        self.progress.update(self.task, completed=step)
        if self.live is not None:
            self.live.update(self._picture())
        return step_line(step, int(self.progress.tasks[self.task].total or 0), row, timing)

    def sample(self, prompt: str, response: str, score: float | None) -> None:
        """Keep the response under the figures."""
        text = Text(_score(score), style="bold")
        self.latest = text.append(one_line(prompt, 120), style="dim").append(
            " " + one_line(response, 240), style="italic not bold"
        )

    def say(self, text: str) -> None:
        """Print above the picture."""
        self.console.print(Text(safe_text(text)))

    def close(self) -> None:
        """Stop drawing; the last picture stays."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _picture(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for name in [n for n in LIVE if n in self.row]:
            change = self.row[name] - self.first[name]
            table.add_row(name, f"{self.row[name]:.4g}", Text(f"{change:+.3g} since the start", style="dim"))
        table.add_row("tokens/s", f"{self.speed:.0f}", "")
        return Group(self.progress, Text(sparkline(self.scores[-60:]), style="green"), table, self.latest)


def step_line(step: int, total: int, row: Mapping[str, float], timing: Mapping[str, float]) -> str:
    """The figures of a step on one line."""
    shown = "  ".join(f"{name} {row[name]:.3f}" for name in LIVE[:IN_LINE] if name in row)
    return f"step {step}/{total}  {shown}  {timing['tokens_per_second']:.0f} tokens/s"


def sparkline(values: list[float]) -> str:
    """``values`` as a line of eight heights."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((v - low) * scale)] for v in values)


def _score(score: float | None) -> str:
    return "" if score is None else f"[{score:.2f}] "


def as_text(value: Any) -> Text:
    """Foreign text as rich shows it: no markup, nothing that a terminal obeys."""
    return Text(safe_text(str(value)))
