"""One process for a run directory: a kernel lock (flock), which ends with the process."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rlnlp.errors import Exit, Failure, one_line

_held: list[TextIO] = []


def _in_child() -> None:
    """A process that is forked does not hold the lock: it may outlive the run."""
    for lock in _held:
        lock.close()


os.register_at_fork(after_in_child=_in_child)


@contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Lock ``directory``. The content of the file ``lock`` is for people only.

    Raises:
        Failure: exit 6, if another process has locked it.
    """
    with (directory / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            owner = one_line(lock.read(), 80) or "unknown"
            raise Failure(Exit.RUN, f"{directory} is in use by another process: {owner}") from error
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        lock.flush()
        _held.append(lock)
        try:
            yield
        finally:
            _held.remove(lock)
            fcntl.flock(lock, fcntl.LOCK_UN)  # for a process that is being forked right now too
