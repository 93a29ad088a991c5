"""``python -m rlnlp.run.tracking.follow``: hands the steps of a run to its tracker until the run ends.

The request comes on stdin as one line of JSON, and a second line when the run has ended. What the user is to know goes
to stdout, a line each. All that libraries print goes to the tracker's folder.
"""

import fcntl
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from rlnlp.config.tracker import TRACKERS
from rlnlp.errors import describe
from rlnlp.run.find import sweep_of
from rlnlp.run.manifest import read_facts, read_settings
from rlnlp.run.tracking.rows import NewSteps
from rlnlp.run.tracking.tracker import FOLDER, Request, TrackedRun, Tracker, opener

PAUSE = 1.0  # seconds between two looks
RETRIES = (5.0, 15.0, 60.0)  # seconds until what has failed is tried again: the first time, the second, from then on
MOST = 200  # steps that are logged at once
EARLIER = 60.0  # seconds that an earlier process of the same run may take to hand on what it has
END = 600  # seconds after which it ends by itself when the run that it is beside was killed
SENT = "sent.json"


class Follower:
    """Reads the steps of the run and logs those that its tracker lacks; whatever fails is tried again from there."""

    def __init__(self, request: Request, tell: Callable[[str], None]) -> None:
        self.request, self.directory = request, Path(request.directory)
        self._tell, self._told = tell, set[str]()
        self._tracker: Tracker | None = None
        self._failures = 0
        self._steps = NewSteps(self.directory)

    def turn(self, last: bool) -> float:
        """Log what is new, and with the ``last`` turn the end; return the seconds until the next turn."""
        try:
            tracker = self._tracker = self._tracker or self._opened()
            rows = [row for row in self._steps.read(last) if row.step > tracker.last_step]
            for i in range(0, len(rows), MOST):
                tracker.log(rows[i : i + MOST])
                self._record_sent(tracker.last_step)
            if last:
                facts = read_facts(self.directory)
                tracker.end(str(facts.get("status")), facts.get("result") or {})
        except Exception as error:  # of whatever library: what is only shown decides nothing
            self._tracker, self._steps = None, NewSteps(self.directory)
            self._once("failed", f"warning: {self._name}: {describe(error)}; the run goes on, and it is tried again")
            self._failures += 1
            return RETRIES[min(self._failures, len(RETRIES)) - 1]
        return PAUSE

    @property
    def _name(self) -> str:
        return TRACKERS[self.request.tracker]

    def _opened(self) -> Tracker:
        request = self.request
        sweep = sweep_of(self.directory.absolute())
        run = TrackedRun(
            request.id, request.run_name, request.project, sweep.name if sweep else "", read_settings(self.directory),
            self.directory / FOLDER, request.offline, self._sent(), request.saved,
        )  # fmt: skip
        tracker = opener(request.tracker)(run)
        self._once("where", f"{self._name}: {tracker.where}")
        return tracker

    def _once(self, kind: str, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._tell(text)

    def _sent(self) -> int:
        """The last step that this tracker was given by this process or an earlier one."""
        try:
            record = json.loads((self.directory / FOLDER / SENT).read_text())
            return int(record["step"]) if record["tracker"] == self.request.tracker else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _record_sent(self, step: int) -> None:
        path = self.directory / FOLDER / SENT
        staged = path.with_suffix(".new")
        staged.write_text(json.dumps({"tracker": self.request.tracker, "step": step}) + "\n")
        os.replace(staged, path)  # whole at any moment; it need not outlive the machine


def follow(request: Request, ended: Callable[[float], bool], tell: Callable[[str], None]) -> None:
    """Turns until the run has ended, which ``ended`` tells after so many seconds at most."""
    follower = Follower(request, tell)
    pause, last = 0.0, False
    while not last:
        last = ended(pause)
        pause = follower.turn(last)


def _ended(asked: TextIO, parent: int) -> Callable[[float], bool]:
    def ended(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([asked], [], [], min(PAUSE, max(0.0, until - time.monotonic())))
            if ready or os.getppid() != parent:  # told, or killed: a fork of the run may still hold the pipe
                signal.alarm(END)
                return True
            if time.monotonic() >= until:
                return False

    return ended


def _wait_for_earlier(folder: Path) -> TextIO:
    """A lock that an earlier process of the same run holds until it has handed on what it has."""
    lock = (folder / "lock").open("a")
    until = time.monotonic() + EARLIER
    while time.monotonic() < until:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.2)
        except OSError:  # a file system without locks
            break
        else:
            break
    return lock


def main() -> int:
    """Follow the run that stdin asks for."""
    parent = os.getppid()
    asked, told = os.fdopen(os.dup(0), buffering=1), os.fdopen(os.dup(1), "w", buffering=1)
    request = Request(**json.loads(asked.readline()))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # no library may ask anyone anything
    os.dup2(2, 1)  # nor print to anyone

    def tell(text: str) -> None:
        with suppress(OSError):  # the run was killed
            print(text, file=told, flush=True)

    with _wait_for_earlier(Path(request.directory) / FOLDER):
        follow(request, _ended(asked, parent), tell)
    return 0


if __name__ == "__main__":
    sys.exit(main())
