"""Signals that end a run: obeyed at once, but not in the middle of a save."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rlnlp.errors import Exit, Stopped

OBEYED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHOW_CURSOR = b"\x1b[?25h\n"


class Signals:
    """While it is entered, a signal is raised as ``Stopped`` wherever the program is, within one operation of torch.

    Signals that were ignored before (``nohup``, ``command &`` in a script) stay ignored. The second SIGINT ends the
    process on the spot; what is on the disk is whole at any moment.
    """

    def __init__(self) -> None:
        self.came: int | None = None
        self._held = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Signals":
        """Listen."""
        if threading.current_thread() is threading.main_thread():  # no other may
            for each in OBEYED:
                if signal.getsignal(each) is not signal.SIG_IGN:
                    self._before[each] = signal.signal(each, self._arrive)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the signals as they were."""
        for each, handler in self._before.items():
            signal.signal(each, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is inside is not interrupted; a signal that came meanwhile is raised at its end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.check()

    def hold(self) -> None:
        """From now on, nothing is interrupted."""
        self._held = True

    def check(self) -> None:
        """Raise a signal that came: someone's ``except`` may have swallowed it.

        Raises:
            Stopped: there is one.
        """
        if self.came is not None:
            raise Stopped(self.came)

    def _arrive(self, number: int, _: FrameType | None) -> None:
        if self.came is not None:
            if number == signal.SIGINT:
                if sys.stderr.isatty():
                    os.write(sys.stderr.fileno(), SHOW_CURSOR)
                os._exit(Exit.INTERRUPT)
            return
        self.came = number
        if not self._held:
            raise Stopped(number)
