"""The process beside a run that hands its steps to a tracker: begun, listened to, ended. The run never waits for it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from rlnlp.config.tracker import TRACKERS, Tracker
from rlnlp.errors import describe, one_line
from rlnlp.run.signals import Signals
from rlnlp.run.tracking.tracker import FOLDER, Request

LIMIT, HURRY = 60.0, 5.0  # seconds that it has for its last steps; after a signal
SHORT = 3.0  # seconds that need no explanation
NONE = "none"


@contextmanager
def tracked(
    directory: Path, id: str, tracker: Tracker, saved: int, say: Callable[[str], None], signals: Signals
) -> Iterator[None]:
    """A block in which the run of ``directory``, which goes on from the step ``saved``, is followed.

    ``say`` prints a line. Once a signal has arrived, the end is not waited for long. Whatever fails is told by a line.
    """
    if tracker.name == NONE:
        yield
        return
    name = tracker.run_name or "/".join(directory.absolute().parts[-2:])
    request = Request(str(directory), id, tracker.name, tracker.project, name, tracker.offline, saved)
    try:
        child = _begun(directory / FOLDER, request)
    except OSError as error:
        say(f"warning: {TRACKERS[tracker.name]}: {describe(error)}; the run goes on without it")
        yield
        return
    listening = threading.Thread(target=_listen, args=(child, say), daemon=True)
    listening.start()
    try:
        yield
    finally:
        _end(child, TRACKERS[tracker.name], say, signals)
        listening.join(SHORT)


def _begun(folder: Path, request: Request) -> "subprocess.Popen[str]":
    """The process, in a session of its own: signals of the terminal are the run's."""
    folder.mkdir(exist_ok=True)
    pipe = subprocess.PIPE
    with (folder / "output.log").open("a") as output:
        words = [sys.executable, "-m", "rlnlp.run.tracking.follow"]
        child = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=output, text=True, start_new_session=True)
    assert child.stdin is not None
    with suppress(OSError):  # it has ended already, and output.log says why
        child.stdin.write(json.dumps(asdict(request)) + "\n")
        child.stdin.flush()
    return child


def _listen(child: "subprocess.Popen[str]", say: Callable[[str], None]) -> None:
    """Print what it tells."""
    assert child.stdout is not None
    with child.stdout as lines:
        for line in lines:
            say(one_line(line, 400))


def _end(child: "subprocess.Popen[str]", name: str, say: Callable[[str], None], signals: Signals) -> None:
    """Let it hand on the last steps, and end it if that takes too long."""
    assert child.stdin is not None
    with suppress(OSError):
        child.stdin.close()
    begun, explained = time.monotonic(), False
    while child.poll() is None and (taken := time.monotonic() - begun) < (LIMIT if signals.arrived is None else HURRY):
        if taken > SHORT and not explained:
            explained = True
            say(f"{name} is getting the last steps")
        time.sleep(0.05)
    if child.poll() is None:
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        say(f"warning: {name} did not take the last steps in time; metrics.jsonl has all")
        child.wait()
    elif child.returncode:
        say(f"warning: {name}: its process ended with exit {child.returncode}: see {FOLDER}/output.log")
