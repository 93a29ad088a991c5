"""A program in a pseudo-terminal: keys go in, what it prints comes out."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

from support.small import ROOT

PATIENCE = 15.0  # seconds for something to appear


class Terminal:
    """``rlnlp`` with ``words`` in a window of so many columns and lines.

    ``start`` makes the process, given words, place, streams and environment: it has no job control then.
    """

    def __init__(self, words, cwd, columns=110, lines=30, patience=PATIENCE, start=None, **env):
        self.patience = patience
        self.master, self.slave = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self.slave)
        self.text = ""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "LANG": "C.UTF-8", **env}
        for name in ("COLUMNS", "LINES", "LC_ALL", "NO_COLOR"):
            environment.pop(name, None)
        if start is not None:
            self.process = start(words, cwd, (os.ttyname(self.slave),) * 3, environment)
            return
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rlnlp", *map(str, words)], cwd=cwd, env=environment, start_new_session=True,
            stdin=self.slave, stdout=self.slave, stderr=self.slave,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for end in (self.master, self.slave):
            os.close(end)

    def resize(self, columns, lines):
        """Change the window, which the kernel tells the program."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    def until(self, pattern: str, after: int | None = None) -> str:
        """What has been printed, once ``pattern`` is in what came since ``after`` (characters; None: since the last).

        Control sequences of the terminal are left in.
        """
        start = len(self.text) if after is None else after
        end = time.monotonic() + self.patience
        while not re.search(pattern, self.text[start:]):
            if time.monotonic() > end:
                raise AssertionError(f"{pattern!r} does not come: {self.text[start:][-2000:]!r}")
            self._read()
        return self.text[start:]

    def answer(self, keys: str, pattern: str) -> str:
        """Type, and wait for what it brings."""
        start = len(self.text)
        self.press(keys)
        return self.until(pattern, start)

    def end(self) -> int:
        """Wait for its end; the exit status."""
        end = time.monotonic() + self.patience
        while self.process.poll() is None and time.monotonic() < end:
            self._read()
        self._read()
        return self.process.wait(5)

    def restored(self) -> bool:
        """True if the terminal's mode is what it was."""
        return termios.tcgetattr(self.slave) == self.before

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal."""
        os.kill(self.process.pid, number)

    def _read(self) -> None:
        import select

        if select.select([self.master], [], [], 0.1)[0]:
            self.text += os.read(self.master, 65536).decode("utf-8", "replace")
