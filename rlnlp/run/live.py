"""What a run shows while it lasts, in a terminal: progress, curves, a table of metrics, the last sample."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import pairwise
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from rlnlp.config.description import LABEL as LABELS
from rlnlp.errors import one_line, safe_text
from rlnlp.metrics import CURVES, LIVE, change, label
from rlnlp.run.display import Display, PlainDisplay, slow_terms, step_line

BARS = "▁▂▃▄▅▆▇█"
COLORS = ("green", "magenta")  # of the curves; like all colors here, readable on a dark and on a light background
THEME = Theme(
    {
        "bar.back": "bright_black", "bar.complete": "green", "bar.finished": "green", "bar.pulse": "green",
        "progress.elapsed": "none", "progress.remaining": "none", "progress.download": "none",
        "status.spinner": "green",
    }
)  # fmt: skip
LABEL, NAME, NUMBER = 25, 20, 10  # columns of the table, in characters
OTHERS = 6  # so many metrics are shown before the terms of the reward take more rows
SAMPLE_LINES = (2, 3)  # of the prompt, of the response
LOW = 18  # a terminal with fewer lines has no room for a sample
NARROW = 78  # a terminal with fewer columns has no room for the names of the metrics and of the stage


def display() -> Display:
    """A live display in a terminal, plain lines elsewhere; on stderr, so that stdout holds results only."""
    console = Console(file=sys.stderr, highlight=False, theme=THEME)
    drawn = sys.stderr.isatty() and not console.is_dumb_terminal  # FORCE_COLOR makes no terminal of a file
    return LiveDisplay(console) if drawn else PlainDisplay(sys.stderr)


class LiveDisplay:
    """The state of a run, drawn four times a second, as much of it as the terminal has room for."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("{task.fields[where]}step"), MofNCompleteColumn(), BarColumn(None), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[speed]}"), console=console, expand=True,
        )  # fmt: skip
        self.task = self.progress.add_task("training", start=False, total=0, speed="", where="")
        self.total = 0
        self.history: dict[str, list[float]] = {}
        self.stage = ""  # of the last step, in runs that have stages
        self.stage_of: dict[str, str] = {}  # the stage that the history of a metric is of
        self.slow: dict[str, float] = {}  # terms of the reward, with the seconds of the last step
        self.latest: tuple[int, str, str, float | None] | None = None
        self.count = ""
        self.live: Live | None = None

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """A spinner; none while the table is drawn."""
        return nullcontext() if self.live else self.console.status(Text(f"{safe_text(what)} ..."))

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Draw how many are done: under the metrics, or beside a spinner where there are none yet."""
        with ExitStack() as drawn:
            status = None if self.live else drawn.enter_context(self.console.status(Text(f"{what} ...")))

            def tell(done: int) -> None:
                self.count = f"{what}: {done:,} of {total:,}"
                if status is not None:
                    status.update(Text(self.count))

            drawn.callback(self._forget_count)
            yield tell

    def _forget_count(self) -> None:
        self.count = ""

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Stop drawing, and begin again at the end unless the run ends."""
        drawn = self.live is not None
        self.close()
        yield
        if drawn:
            self._draw()

    def begin(self, total: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Start drawing."""
        for row in rows:
            self._add(row)
        self.total = total
        self.progress.update(self.task, total=total, completed=rows[-1]["step"] if rows else 0)
        self.progress.start_task(self.task)
        self._draw()

    def _draw(self) -> None:
        self.live = Live(get_renderable=self.table, console=self.console, refresh_per_second=4)
        self.live.start()

    def step(self, step: int, row: Mapping[str, Any], timing: Mapping[str, float]) -> str:
        """Take in the new metrics; they are drawn when the next drawing is due."""
        self._add(row)
        self.slow = slow_terms(timing)
        where = f"round {row['round']} {row['stage']}, " if "stage" in row and self.console.width >= NARROW else ""
        speed = f"{timing['tokens_per_second']:,.0f} tokens/s"
        self.progress.update(self.task, completed=step, speed=speed, where=where)
        return step_line(step, self.total, row, timing)

    def sample(self, step: int, prompt: str, response: str, score: float | None) -> None:
        """Show the response under the metrics."""
        self.latest = step, one_line(prompt, 400), one_line(response, 400), score

    def describe(self, texts: Mapping[str, str]) -> None:
        """Print two columns; what is too long for the second goes on below it."""
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(width=LABELS - 1)
        for name, text in texts.items():
            table.add_row(Text(name, style="bold"), Text(safe_text(text)))
        self.console.print(table)

    def log_message(self, text: str) -> None:
        """Print above the table."""
        self.console.print(Text(safe_text(text)))

    def close(self) -> None:
        """Stop drawing; the last table stays."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def table(self) -> RenderableType:
        """All that fits the terminal, which may have another size each time."""
        width, height = self.console.size
        curves = [name for name in CURVES if self._is_present(name)]
        sample = self._sample(width) if height >= LOW else []
        beside = max(1, width // 100)  # tables of metrics side by side
        others = len(curves) + len(sample) + bool(self.count)
        room = height - 5 - others  # progress, head, a line before and after the table, one to spare
        names = self._names(max(1, room) * beside)
        rows = -(-len(names) // beside)
        tables = Table.grid(padding=(0, 4, 0, 0))
        tables.add_row(*(self._metrics(names[i : i + rows], width) for i in range(0, len(names), max(1, rows))))
        lines = [self._curve(name, width, color) for name, color in zip(curves, COLORS, strict=False)]
        return Group(self.progress, *lines, "", tables, "", *sample, *([Text(self.count)] if self.count else []))

    def _add(self, row: Mapping[str, Any]) -> None:
        self.stage = row.get("stage", "")
        for name, value in row.items():
            if isinstance(value, str):
                continue
            if self.stage_of.setdefault(name, self.stage) != self.stage:  # the same name is another thing now
                self.history[name] = []
                self.stage_of[name] = self.stage
            self.history.setdefault(name, []).append(value)

    def _is_present(self, name: str) -> bool:
        """True for a metric of the present stage."""
        return name in self.history and self.stage_of[name] == self.stage

    def _names(self, room: int) -> list[str]:
        """At most ``room`` metrics by their importance; the terms of the reward stand under the score."""
        logged = dict(self.history)
        terms = [name for name in logged if name.startswith("score/")]
        others = sorted((name for name in LIVE if name in logged), key=lambda name: not self._is_present(name))
        terms = terms[: max(0, room - min(len(others), OTHERS))]
        others = others[: room - len(terms)]
        return [name for other in others for name in ([other, *terms] if other == "score" else [other])]

    def _metrics(self, names: list[str], width: int) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
        table.add_column("", width=LABEL, no_wrap=True)
        table.add_column("now", justify="right", width=NUMBER, no_wrap=True)
        table.add_column("since the start", justify="right", no_wrap=True)
        if width >= NARROW:
            table.add_column("in metrics.jsonl", width=NAME, no_wrap=True)
        for name in names:
            values = list(self.history[name])
            changed = f"{change(values):+.3g}" if len(values) > 1 else ""
            indent, seconds = "  " if name.startswith("score/") else "", self.slow.get(name.removeprefix("score/"))
            taken = f" {seconds:.2g} s" if indent and seconds is not None else ""
            table.add_row(
                Text(f"{indent}{one_line(label(name), LABEL - len(indent + taken))}{taken}"),
                f"{values[-1]:.4g}",
                changed,
                *([Text(one_line(name, NAME), style="dim")] if width >= NARROW else []),
            )
        return table

    def _curve(self, name: str, width: int, color: str) -> Text:
        values = list(self.history[name])
        ends = f"{values[0]:.4g}", f"{values[-1]:.4g}"
        words = label(name)
        bars = sparkline(in_buckets(values, max(4, min(100, width - LABEL - 2 * NUMBER))))
        begin = f"{words:<{LABEL}}{ends[0]:>{NUMBER - 2}} "
        return Text.assemble(begin, (bars, color), f" {ends[1]}", no_wrap=True, overflow="crop")

    def _sample(self, width: int) -> list[Text]:
        if self.latest is None:
            return []
        step, prompt, response, score = self.latest
        scored = "" if score is None else f", score {score:.2f}"
        lines = [Text(f"a sample of step {step}{scored}")]
        for head, text, most in zip(("prompt", "response"), (prompt, response), SAMPLE_LINES, strict=True):
            wrapped = list(Text(text).wrap(self.console, max(10, width - 11)))
            if len(wrapped) > most:
                wrapped[most - 1].append("…")
            for i, line in enumerate(wrapped[:most]):
                line.rstrip()
                lines.append(Text.assemble((f"{'' if i else head:<10}", "bold"), line))
        return lines


def in_buckets(values: list[float], count: int) -> list[float]:
    """``values``, or the means of at most ``count`` parts of them, in order."""
    if len(values) <= count:
        return values
    ends = [i * len(values) // count for i in range(count + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(ends)]


def sparkline(values: list[float]) -> str:
    """``values`` as a line of block characters."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((v - low) * scale)] for v in values)
