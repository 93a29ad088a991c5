"""Single keys from a terminal, whose mode is restored in every case: at the end, at an error, while it is suspended."""

import os
import select
import signal
import sys
import termios
import threading
import tty
from types import FrameType, TracebackType
from typing import Any

LOOK = 0.25  # seconds between looks at whether the window has changed
REST = 0.05  # seconds within which the rest of a key's escape sequence arrives
SEQUENCES = {
    "\x1b[D": "left", "\x1bOD": "left", "\x1b[C": "right", "\x1bOC": "right",
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down",
    "\x1b[5~": "page up", "\x1b[6~": "page down", "\x04": "end", "\x03": "end", " ": "page down", "b": "page up",
}  # fmt: skip


class Keys:
    """A block in which each key counts at once and is not echoed; ``resized`` says that the screen must be redrawn."""

    def __init__(self) -> None:
        self.resized = False
        self._terminal = sys.stdin.fileno()
        self._before: list[Any] = []
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "Keys":
        """Turn single keys on."""
        self._before = termios.tcgetattr(self._terminal)
        tty.setcbreak(self._terminal)
        if threading.current_thread() is threading.main_thread():
            for number, handler in ((signal.SIGWINCH, self._changed), (signal.SIGTSTP, self._suspend)):
                self._handlers[number] = signal.signal(number, handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the terminal."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._restore()

    def forget(self) -> None:
        """Drop what was typed before the question was there: it is no answer to it."""
        termios.tcflush(self._terminal, termios.TCIFLUSH)

    def wait(self) -> str | None:
        """The next key; None after a while without any. "end" is Ctrl-D, Ctrl-C or a terminal that has gone."""
        if not select.select([self._terminal], [], [], LOOK)[0]:
            return None
        read = self._read()
        if read == "\x1b":
            while len(read) < 8 and select.select([self._terminal], [], [], REST)[0]:
                more = self._read()
                read += more
                if len(read) > 2 and (more.isalpha() or more == "~"):
                    break
        return SEQUENCES.get(read, read)

    def _read(self) -> str:
        try:
            found = os.read(self._terminal, 1)
        except OSError:  # the terminal has gone
            found = b""
        return found.decode("latin-1") if found else "\x04"

    def _changed(self, number: int, frame: FrameType | None) -> None:
        self.resized = True

    def _suspend(self, number: int, frame: FrameType | None) -> None:
        """Give the terminal back as it was, stop, and go on when the shell lets it."""
        self._restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        tty.setcbreak(self._terminal)
        self.resized = True

    def _restore(self) -> None:
        try:
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)
        except termios.error:  # the terminal has gone
            return
