"""What a run shows while it lasts, as lines: for files, pipes and train.log. In a terminal: live.py."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.text import Text

from rlnlp.config.description import block
from rlnlp.errors import one_line, safe_text
from rlnlp.metrics import LIVE

OF_TERM = "reward/"  # before the name of a term, in timing.jsonl
SLOW = 0.25
LOOKED_AT = 2.0  # seconds from which on somebody may wonder how far it is
PIPED = 200  # columns of a table that is not printed to a terminal
IN_LINE = 9  # so many of the live metrics are in the line of a step


class Display(Protocol):
    """Shows the progress of a run."""

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """A block that takes a while, such as loading a model: ``what`` in words."""
        ...

    def counting(self, what: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """A block in which ``what`` is done ``total`` times: it is given a function to tell how many are done."""
        ...

    def suspended(self) -> AbstractContextManager[object]:
        """A block in which the terminal belongs to something else."""
        ...

    def begin(self, total: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Start the display of ``total`` steps; ``rows`` are the metrics of those that are done."""
        ...

    def step(self, step: int, row: Mapping[str, Any], timing: Mapping[str, float]) -> str:
        """Show a step that is done; return its line for train.log."""
        ...

    def sample(self, step: int, prompt: str, response: str, score: float | None) -> None:
        """Show a response that the policy gave in ``step``."""
        ...

    def describe(self, texts: Mapping[str, str]) -> None:
        """Show texts with their labels, in two columns."""
        ...

    def log_message(self, text: str) -> None:
        """Show a line."""
        ...

    def close(self) -> None:
        """Restore the terminal."""
        ...


class PlainDisplay:
    """Prints a line for each of about twenty steps of the run."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.total = 0

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """Print nothing: a file needs no sign of life."""
        return nullcontext()

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Print a line at about every tenth, but none of what takes no time."""
        told, at = 0, time.monotonic() + LOOKED_AT

        def tell(done: int) -> None:
            nonlocal told
            if abs(done - told) >= max(1, total // 10) and time.monotonic() > at:
                told = done
                self.log_message(f"{what}: {done:,} of {total:,}")

        yield tell

    def suspended(self) -> AbstractContextManager[object]:
        """Nothing is drawn that would be in the way."""
        return nullcontext()

    def begin(self, total: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Start."""
        self.total = total

    def step(self, step: int, row: Mapping[str, Any], timing: Mapping[str, float]) -> str:
        """Print the line of about every twentieth part of the run."""
        line = step_line(step, self.total, row, timing)
        if step in (1, self.total) or step % max(1, self.total // 20) == 0:
            self.log_message(line)
        return line

    def sample(self, step: int, prompt: str, response: str, score: float | None) -> None:
        """Print one line."""
        shown = "" if score is None else f"[{score:.2f}] "
        self.log_message(f"  step {step} {shown}{one_line(prompt, 80)} | {one_line(response, 160)}")

    def describe(self, texts: Mapping[str, str]) -> None:
        """Print two columns."""
        self.log_message(block(texts))

    def log_message(self, text: str) -> None:
        """Print."""
        self.stream.write(f"{safe_text(text)}\n")  # in one piece, for another thread tells of signals
        self.stream.flush()

    def close(self) -> None:
        """Nothing to restore."""


def step_line(step: int, total: int, row: Mapping[str, Any], timing: Mapping[str, float]) -> str:
    """The metrics of a step on one line."""
    shown = "  ".join(f"{name} {row[name]:.3f}" for name in LIVE[:IN_LINE] if name in row)
    slow = "".join(f"  {one_line(name, 40)} {seconds:.2g} s" for name, seconds in slow_terms(timing).items())
    stage = f"round {row['round']} {row['stage']}  " if "stage" in row else ""
    return f"step {step}/{total}  {stage}{shown}  {timing['tokens_per_second']:.0f} tokens/s{slow}"


def slow_terms(timing: Mapping[str, float]) -> dict[str, float]:
    """The seconds of each term of the reward that takes more than the fraction ``SLOW`` of its step."""
    terms = {name.removeprefix(OF_TERM): value for name, value in timing.items() if name.startswith(OF_TERM)}
    return {name: value for name, value in terms.items() if value > SLOW * timing["seconds"]}


def as_text(value: Any) -> Text:
    """Text for rich without markup or terminal control characters."""
    return Text(safe_text(str(value)))


def piped_or_terminal() -> Console:
    """A console as wide as the terminal, or wide enough for all that is read by other programs."""
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = PIPED
    return console
