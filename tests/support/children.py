"""Runs in processes of their own, forked with everything imported: a start costs a few hundredths of a second."""

import contextlib
import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import torch

from rlnlp.cli.exits import guarded
from support import forked, runs

SECONDS = 60


@dataclass(frozen=True)
class Ended:
    """Exit status, below 0 for a signal, and what stood on standard error."""

    code: int
    err: str


def train_or_resume(settings: dict, directory: str, err: str, fault: Callable[[Path], None] | None) -> None:
    """What a child does: as ``rlnlp train`` would, or ``rlnlp resume`` if the run has begun."""
    os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    torch.set_num_threads(1)
    path = Path(directory)
    begun = (path / "config.yaml").exists()
    if fault is not None:
        fault(path)

    def work() -> int:
        runs.go_on(path) if begun else runs.run(settings, path)
        return 0

    code = guarded("rlnlp", work)
    sys.stderr.flush()
    os._exit(code)


class Children:
    """Starts them, sends them signals, waits for them."""

    def __init__(self, root: Path) -> None:
        self.root, self.numbers, self.lock = root, itertools.count(), threading.Lock()
        self.context = forked.server()

    def start(self, settings: dict, directory: Path, fault: Callable[[Path], None] | None = None):
        """A child at work, and the file of its standard error."""
        err = self.root / f"err-{next(self.numbers)}"
        child = self.context.Process(target=train_or_resume, args=(settings, str(directory), str(err), fault))
        with self.lock:
            child.start()
        return child, err

    def status(self, child, seconds: float) -> int | None:
        """Its exit status, or None if it is still at work after so many seconds.

        Under a lock, for each start asks for the status of all children: of two threads that ask at once one gets 255.
        """
        wait([child.sentinel], seconds)
        with self.lock:
            return child.exitcode

    def end(self, child, err: Path) -> Ended:
        """Wait for it."""
        code = self.status(child, SECONDS)
        assert code is not None, "it hangs"
        return Ended(code, err.read_text() if err.exists() else "")

    def run(self, settings: dict, directory: Path, fault: Callable[[Path], None] | None = None) -> Ended:
        """Start and wait."""
        return self.end(*self.start(settings, directory, fault))

    def killed(self, settings: dict, directory: Path, after: float, number: int = signal.SIGKILL) -> Ended:
        """Start, send a signal after so many seconds, wait."""
        child, err = self.start(settings, directory)
        if self.status(child, after) is None:
            with contextlib.suppress(ProcessLookupError):  # it may end in between
                os.kill(child.pid, number)
        return self.end(child, err)


def chains(children: Children, settings: dict, root: Path, kills: int, seed: int):
    """Runs killed up to five times at random moments and then let finish: (directory, kills, how the last ended)."""
    chance, left = random.Random(seed), kills
    begun = time.monotonic()
    assert children.run(settings, root / "measured").code == 0
    whole = time.monotonic() - begun
    while left > 0:
        directory = root / f"chain-{left}"
        wanted = min(left, chance.randint(1, 5))
        for _ in range(wanted):
            ended = children.killed(settings, directory, chance.uniform(0, whole))
            assert ended.code in (0, -signal.SIGKILL), ended.err
        left -= wanted
        yield directory, wanted, children.run(settings, directory)
