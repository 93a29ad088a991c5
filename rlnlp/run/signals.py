"""Signals that end a run: at once, but not in the middle of a save."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rlnlp.errors import Exit, Stopped

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHOW_CURSOR = b"\x1b[?25h\n"


class Signals:
    """A context in which a signal is raised as ``Stopped``, at the latest after the current torch operation.

    Signals that were ignored before (``nohup``, ``command &`` in a script) stay ignored. A second SIGINT ends
    the process immediately: what is on the disk is consistent at any moment.
    """

    def __init__(self) -> None:
        self.arrived: int | None = None
        self._deferred = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Signals":
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():  # Python allows no other
            for number in HANDLED:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._arrive)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the previous handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A block that is not interrupted; a signal that arrives meanwhile is raised at its end."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.check()

    def defer(self) -> None:
        """Interrupt nothing from now on."""
        self._deferred = True

    def check(self) -> None:
        """Raise a signal that has arrived: someone's ``except`` may have swallowed it.

        Raises:
            Stopped: if one has arrived.
        """
        if self.arrived is not None:
            raise Stopped(self.arrived)

    def _arrive(self, number: int, _: FrameType | None) -> None:
        if self.arrived is not None:
            if number == signal.SIGINT:
                if sys.stderr.isatty():
                    os.write(sys.stderr.fileno(), SHOW_CURSOR)
                os._exit(Exit.INTERRUPT)
            return
        self.arrived = number
        if not self._deferred:
            raise Stopped(number)
