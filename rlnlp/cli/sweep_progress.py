"""What a sweep shows while its jobs run: one line for each, and in a terminal how far the present one is."""

import os
import shutil
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from rlnlp.cli.exits import print_error
from rlnlp.config.description import duration
from rlnlp.errors import counted, one_line

STEP = "step "  # how the line of a training step begins
CLEAR = "\r\x1b[K"


class SweepProgress:
    """Which job of how many is running, and how long the others will take; ``total`` None if nobody knows."""

    def __init__(self, total: int | None = None) -> None:
        self.total, self.jobs = total, 0  # jobs that have ended
        self.process = os.getpid()
        self.seconds: list[float] = []  # of those that had something to do

    def title(self, directory: Path) -> str:
        """The line before the first job."""
        return f"sweep directory {directory}" + (f": {counted(self.total, 'job')}" if self.total else "")

    def label(self, job: int, directory: Path, settings: str) -> str:
        """Which job it is, counted from 1, where it is and what it was given; ``job`` counts from 0."""
        number = f"{job + 1}" + (f" of {self.total}" if self.total else "")
        return f"job {number} in {directory}: {one_line(settings, 200)}"

    def ended(self, output: "JobOutput", exit_code: int, result: str, before: bool = False) -> None:
        """Print how a job ended: what it reached, or its error; then about how long the others will take.

        ``before``: it was complete before.
        """
        seconds = time.monotonic() - output.begun
        self.jobs += 1
        self.seconds += [] if before else [seconds]
        how = f"exit {exit_code}" if exit_code else "complete already" if before else f"done in {duration(seconds)}"
        if output.drawn:  # over the line that showed the last step
            print_error(output.label)
        print_error(f"  {how}{': ' * bool(result)}{result}{self.left()}")
        if exit_code:
            print_error("\n".join(f"  {line.lstrip()}" for line in output.error))

    def left(self) -> str:
        """The time that the remaining jobs will take if they take as long as the jobs so far; empty if unknown.

        In a process that a launcher has begun nobody knows: others run other jobs at the same time.
        """
        rest = (self.total or 0) - self.jobs if os.getpid() == self.process else 0
        if rest < 1 or not self.seconds:
            return ""
        return f"; about {duration(rest * sum(self.seconds) / len(self.seconds))} left"


class JobOutput:
    """What the process of a job prints, kept in ``output.log``; of it the sweep shows the present step on one line."""

    def __init__(self, label: str, directory: Path) -> None:
        self.label, self.begun = label, time.monotonic()
        self._file = (directory / "output.log").open("a", encoding="utf-8")
        self.error: list[str] = []  # the message of the error that ended the job
        self.passing = False  # print every line: the job is being stopped
        self.drawn = sys.stderr.isatty()

    def __enter__(self) -> "JobOutput":
        """Open a pipe for the process to write to."""
        reading, self._writing = os.pipe()
        self._thread = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._thread.start()
        self._show(self.label)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read what is left of it."""
        os.close(self._writing)
        self._thread.join()
        self._file.close()
        if self.drawn:
            print(CLEAR, end="", file=sys.stderr, flush=True)

    @property
    def stdout(self) -> int:
        """The file descriptor for its standard output."""
        return self._file.fileno()

    @property
    def stderr(self) -> int:
        """The file descriptor for its standard error."""
        return self._writing

    def _read(self, reading: int) -> None:
        with open(reading, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._file.write(line)
                self._file.flush()
                text = line.rstrip("\n")
                begins = text.startswith("rlnlp ")
                self.error = [text] if begins else [*self.error, text][:3] if self.error else []
                if self.passing:
                    print_error(text)
                elif text.startswith(STEP) and self.drawn:
                    self._show(f"{self.label}  {one_line(text)}")

    def _show(self, text: str) -> None:
        if self.drawn:
            width = shutil.get_terminal_size().columns - 1
            print(f"{CLEAR}{text[:width]}", end="", file=sys.stderr, flush=True)
        else:
            print_error(text)
