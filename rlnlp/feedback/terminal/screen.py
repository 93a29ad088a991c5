"""What the terminal shows of a question: the prompt, the responses side by side or one above the other, the keys."""

import os
import shutil
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rlnlp.feedback.records import Progress, Question
from rlnlp.models.chat import conversation_text
from rlnlp.run.display import as_text

BESIDE = 90  # columns from which two responses stand side by side
SURE = (("", None), ("a guess", 0.0), ("fairly sure", 0.5), ("certain", 1.0))
COMPARE = "1 or left: the first is better   2 or right: the second   = tie"
RATE = "1 to 9, 0 for 10: how good it is"
OTHERS = "c how sure   s skip   u undo   q save and quit"


class Screen:
    """The terminal as a window on a question that may be longer than it: ``offset`` lines are above it.

    ``instructions`` stand above every question.
    """

    def __init__(self, instructions: str = "") -> None:
        self.offset, self._instructions = 0, instructions
        self._console = Console(file=sys.stdout, highlight=False)
        self._simple = os.environ.get("TERM", "dumb") == "dumb"

    def show(self, question: Question, progress: Progress, sure: int, said: str) -> None:
        """Draw the question, how far it is, and what was done last."""
        width, height = _size()
        self._console.width = max(20, width)
        body, foot = (
            self._lines(_body(question, width, self._instructions)),
            self._lines(_foot(question, progress, sure, said)),
        )
        room = max(1, height - len(foot) - 1)
        if not self._simple and len(body) > room:
            self.offset = min(max(0, self.offset), len(body) - room)
            last = self.offset + room
            foot = [*self._lines([Text(f"lines {self.offset + 1} to {last} of {len(body)}: space down, b up")]), *foot]
            body = body[self.offset : last - 1]
        else:
            self.offset = 0
        self._draw([*body, *foot])

    def show_waiting(self, progress: Progress, said: str) -> None:
        """Draw that nothing is left for now."""
        self._console.width = max(20, _size()[0])
        what = "Nothing is left for you. As soon as others have judged the rest, it goes on by itself."
        counts = Text(f"{progress.answered:,} answered   {said}".rstrip())
        self._draw(self._lines([Text(what), Text(""), counts, Text("u undo   q save and quit")]))

    def turn(self, key: str) -> bool:
        """Move the window; True for a key that does."""
        page = max(1, _size()[1] - 8)
        step = {"up": -1, "down": 1, "page up": -page, "page down": page}.get(key)
        self.offset = max(0, self.offset + (step or 0))
        return step is not None

    def _lines(self, parts: Sequence[Table | Panel | Text]) -> list[str]:
        with self._console.capture() as captured:
            for part in parts:
                self._console.print(part)
        return captured.get().rstrip("\n").split("\n")

    def _draw(self, lines: Sequence[str]) -> None:
        clear = "\n" if self._simple else "\x1b[H\x1b[2J"
        sys.stdout.write(clear + "\n".join(lines))
        sys.stdout.flush()


def _size() -> tuple[int, int]:
    """Columns and lines of the window as they are now, whatever the environment says."""
    try:
        return os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return shutil.get_terminal_size()


def _body(question: Question, width: int, instructions: str) -> list[Table | Panel | Text]:
    prompt = question.item.prompt
    words = conversation_text(prompt) if isinstance(prompt, list) else prompt or "(none)"
    shown = [as_text(text) if text else Text("(empty)", style="dim") for text in question.shown]
    titles = [f"{number}" for number in (1, 2)] if len(shown) == 2 else ["response"]
    panels = [Panel(text, title=title, title_align="left") for text, title in zip(shown, titles, strict=True)]
    asked = Panel(as_text(words), title="prompt", title_align="left", style="dim")
    above: list[Table | Panel | Text] = [as_text(instructions)] if instructions else []
    if len(panels) == 1 or width < BESIDE:
        return [*above, asked, *panels]
    beside = Table.grid(expand=True, padding=0)
    beside.add_column(ratio=1)
    beside.add_column(ratio=1)
    beside.add_row(*panels)
    return [*above, asked, beside]


def _foot(question: Question, progress: Progress, sure: int, said: str) -> list[Table | Panel | Text]:
    counts = f"{progress.answered:,} answered, {progress.left:,} left"
    how = f"   {SURE[sure][0]}" if sure else ""
    return [Text(f"{counts}{how}   {said}".rstrip()), Text(COMPARE if len(question.order) == 2 else RATE), Text(OTHERS)]
