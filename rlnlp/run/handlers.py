"""Signals reach who is to obey them: handlers for a while, and what Python or a library would make of an interrupt."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # that end a run
SOON = 0.01  # seconds, in which a destructor is left


_replaced: dict[int, Any] = {}  # the handlers that the first ``handled`` has found


def _in_child() -> None:
    """A process that code of the user's forks is not the run: signals find in it what they found before."""
    for number, handler in _replaced.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: Python does not know it


os.register_at_fork(after_in_child=_in_child)


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """A block in which ``handler`` gets the signals that end a run; outside the main thread nothing is changed.

    Signals that were ignored before (``nohup``, ``command &`` in a script) stay ignored.
    """
    main = threading.current_thread() is threading.main_thread()  # Python allows handlers in no other
    obeyed = [number for number in NUMBERS if main and signal.getsignal(number) is not signal.SIG_IGN]
    previous: dict[int, Any] = {number: signal.signal(number, handler) for number in obeyed}
    first = {number: earlier for number, earlier in previous.items() if number not in _replaced}
    _replaced.update(first)
    try:
        yield
    finally:
        for number in first:
            del _replaced[number]
        for number, earlier in previous.items():
            signal.signal(number, earlier)


@contextmanager
def held_back() -> Iterator[None]:
    """A block in which no signal is obeyed; a process that is started in it obeys none before it calls ``release``."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release() -> None:
    """Obey signals, those first that have come meanwhile."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


_noticed: list[int] = []  # signals of this process that code may have swallowed since


@contextmanager
def noticed() -> Iterator[None]:
    """A block in which SIGINT is raised as KeyboardInterrupt, as it is without, and remembered.

    Modules that are being imported swallow it, or raise an error of their own then or when they are imported again.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def handler(number: int, _: FrameType | None) -> None:
        _noticed.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _noticed.clear()


def was_interrupted() -> bool:
    """True if SIGINT has come in a ``noticed`` block, outside a run."""
    return bool(_noticed)


@contextmanager
def undropped(again: Callable[[KeyboardInterrupt], None]) -> Iterator[None]:
    """A block in which ``again`` gets, a moment later, an interrupt that Python would drop.

    It drops every error of a destructor and of a callback of its own, such as those that follow an import.
    """
    previous, timers = sys.unraisablehook, list[threading.Timer]()

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if isinstance(error := unraisable.exc_value, KeyboardInterrupt):
            timers.append(threading.Timer(SOON, again, [error]))
            timers[-1].start()
        else:
            previous(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = previous
        for timer in timers:
            timer.cancel()
            timer.join()
