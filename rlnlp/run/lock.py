"""One process for a run directory: a kernel lock (flock), which ends with the process."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlnlp.errors import Exit, Failure, one_line


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
        yield
