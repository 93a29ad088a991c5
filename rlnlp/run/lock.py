"""One process for a run directory: a kernel lock (flock), which ends with the process."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rlnlp.errors import Exit, Failure, one_line

WAITS = (0.01, 0.03)  # seconds between tries
_held: list[TextIO] = []


def _in_child() -> None:
    """A process that is forked does not hold the lock: it may outlive the run."""
    for lock in _held:
        lock.close()


os.register_at_fork(after_in_child=_in_child)


def is_owned(directory: Path) -> bool:
    """True while a process has locked ``directory``. It is not changed, and need not be writable."""
    try:
        handle = os.open(directory / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)
    return False


def _locked(lock: TextIO) -> bool:
    """Take the lock. It is tried again for a moment, as ``is_owned`` of another process holds it for an instant."""
    for wait in (*WAITS, None):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if wait is None:
                return False
            time.sleep(wait)
        else:
            return True
    return False


@contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Lock ``directory``. The content of the file ``lock`` is for people only.

    Raises:
        Failure: exit 6, if another process has locked it.
    """
    with (directory / "lock").open("a+") as lock:
        if not _locked(lock):
            lock.seek(0)
            owner = one_line(lock.read(), 80) or "unknown"
            raise Failure(Exit.RUN, f"{directory} is in use by another process: {owner}")
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        lock.flush()
        _held.append(lock)
        try:
            yield
        finally:
            _held.remove(lock)
            fcntl.flock(lock, fcntl.LOCK_UN)  # for a process that is being forked right now too
