"""Signals that end a run: when the step that is being taken is done, if that is soon; else at once. Never in a save."""

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from statistics import median
from types import FrameType, TracebackType

from rlnlp.errors import Exit, Stopped
from rlnlp.run.handlers import handled, undropped, was_interrupted

PATIENCE = {  # by signal that ends a run: seconds that a step may go on
    signal.SIGINT: 30.0,
    signal.SIGTERM: 10.0,  # whoever sends it may kill soon after
    signal.SIGHUP: 10.0,
}
GRACE = 5.0  # seconds that code of the user's may take to end once the signal has been raised in it
RECENT = 5  # steps whose time tells that of the next one
SHOW_CURSOR = b"\x1b[?25h\n"


class Signals:
    """A context in which a signal ends the run as ``Stopped``.

    In a step that is expected to end within the ``PATIENCE`` for the signal, that is after the step and its save, or
    when the time is over. A second signal, and one at any other time, is obeyed at once: at the latest after the
    current torch operation. A second SIGINT during a save ends the process: what is on the disk is consistent at any
    moment. ``say`` prints a line. ``abandon`` ends the process when code of the user's goes on in spite of a SIGTERM or
    SIGHUP, from a thread of its own.
    """

    def __init__(self, say: Callable[[str], None], abandon: Callable[[int], None]) -> None:
        self.arrived: int | None = None
        self.estimate: float | None = None  # seconds of a step, used until one is done
        self._say = say
        self._deferred = self._finishing = self._overdue = False
        self._step: tuple[int, float] | None = None  # its number, and when it began
        self._seconds: deque[float] = deque(maxlen=RECENT)
        self._to_watch: SimpleQueue[tuple[str, float] | None] = SimpleQueue()  # a put interrupted by a put is safe
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._handlers = handled(self._arrive)
        self._undropped = undropped(lambda error: self.interrupt(lambda: error))
        self._abandon, self._in_user_code, self._ending = abandon, False, threading.Lock()
        self._raised: SimpleQueue[int | None] = SimpleQueue()
        self._given: Callable[[], BaseException | None] = lambda: None
        self._interrupting = False
        self._last_resort = threading.Thread(target=self._wait_for_user_code, daemon=True)

    def __enter__(self) -> "Signals":
        """Install the handlers.

        Raises:
            Stopped: if someone has swallowed a SIGINT before.
        """
        if was_interrupted():
            raise Stopped(signal.SIGINT)
        self._watcher.start()
        self._last_resort.start()
        self._handlers.__enter__()
        self._undropped.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the previous handlers."""
        self._undropped.__exit__(kind, error, trace)
        self._to_watch.put(None)
        self._watcher.join()
        self._raised.put(None)
        self._handlers.__exit__(kind, error, trace)

    def remember(self, seconds: Iterable[float]) -> None:
        """How long the steps before this process took, the latest last."""
        self._seconds.extend(seconds)

    def begin_step(self, step: int) -> None:
        """The step begins."""
        self._step = step, time.monotonic()

    def end_step(self) -> None:
        """The step has ended; in a ``deferred`` block."""
        if self._step is not None:
            self._seconds.append(time.monotonic() - self._step[1])
            self._step = None
        if self._finishing:
            self._to_watch.put(None)

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
        self._leave_user_code()

    @contextmanager
    def user_code(self) -> Iterator[None]:
        """A block with code of the user's, which may go on for ever in spite of a signal."""
        self._in_user_code = True
        try:
            yield
        finally:
            self._leave_user_code()

    def _leave_user_code(self) -> None:
        self._in_user_code = False
        with self._ending:  # which is never released once the process is being ended
            pass

    def check(self) -> None:
        """Raise a signal that has arrived: its step is over, or someone's ``except`` has swallowed it.

        Raises:
            Stopped: if one has arrived.
            BaseException: what ``interrupt`` was given.
        """
        if (error := self._given()) is not None:
            raise error
        if self.arrived is not None:
            self._raise(self.arrived)

    def stops(self) -> bool:
        """True, in each of several processes, if the first of them is to end after this step."""
        from rlnlp.processes.rows import agreed  # torch, which a sweep's own process does not need

        return agreed(self.arrived is not None)

    def interrupt(self, given: Callable[[], BaseException | None]) -> None:
        """From another thread: raise what ``given`` returns in the main one, now or at the end of a deferred block."""
        self._given, self._interrupting = given, True
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def relay(self, number: int) -> None:
        """A signal that only another process of the run got, for all of them."""
        if self.arrived is None:
            os.kill(os.getpid(), number)

    def _arrive(self, number: int, _: FrameType | None) -> None:
        if self._interrupting:
            self._interrupting = False
            if not self._deferred and (error := self._given()) is not None:
                raise error
            return
        first, overdue = self.arrived is None, self._overdue
        self._overdue = False
        if first:
            self.arrived = number
        if self._deferred:
            if not first and not overdue:
                self._exit(number)
            return
        rest = self._rest_of_step()
        if first and rest is not None and rest <= PATIENCE[signal.Signals(number)]:
            self._finishing = True
            self._to_watch.put((self._promise(number, rest), PATIENCE[signal.Signals(number)]))
        elif first:
            self._raise(number)
        elif self._finishing:
            self._finishing = False
            self._to_watch.put(None)
            self.arrived = self.arrived if overdue else number
            self.check()
        elif not overdue:
            self._exit(number)

    def _rest_of_step(self) -> float | None:
        """Seconds until the step ends, by the median of recent ones; None outside a step or if nothing is known.

        A step that has taken longer already is expected to take as long again.
        """
        usual = median(self._seconds) if self._seconds else self.estimate
        if self._step is None or usual is None:
            return None
        taken = time.monotonic() - self._step[1]
        return usual - taken if taken < usual else taken

    def _promise(self, number: int, rest: float) -> str:
        name, again = ("", "Ctrl-C again") if number == signal.SIGINT else (f"{Stopped(number)}: ", "a second signal")
        step = 0 if self._step is None else self._step[0]
        return f"{name}finishing step {step} (about {max(rest, 1):.0f} s), then saving; {again} stops at once"

    def _watch(self) -> None:
        """Say that a step is being finished, and end it when it takes too long.

        In a thread of its own: the main one may be in the middle of printing when the signal comes.
        """
        asked = self._to_watch.get()
        if asked is None:
            return
        text, patience = asked
        self._say(text)
        try:
            self._to_watch.get(timeout=patience)
        except Empty:
            self._overdue = True
            signal.pthread_kill(threading.main_thread().ident or 0, self.arrived or signal.SIGTERM)

    def _raise(self, number: int) -> None:
        self._raised.put(number)
        raise Stopped(number)

    def _wait_for_user_code(self) -> None:
        """End the process if code of the user's does not end: it waits for what never comes, or takes no exception."""
        while (number := self._raised.get()) is not None:
            time.sleep(GRACE)
            with self._ending:
                if self._in_user_code and number != signal.SIGINT:  # who presses Ctrl-C can press it again
                    self._abandon(number)

    def _exit(self, number: int) -> None:
        if number == signal.SIGINT:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), SHOW_CURSOR)
            os._exit(Exit.INTERRUPT)
