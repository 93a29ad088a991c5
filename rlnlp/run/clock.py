"""How long a step takes, in all and by its phases; and in which phase an error came."""

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from rlnlp.run.ending import START, UPDATE

P = ParamSpec("P")
R = TypeVar("R")


class Clock:
    """``phase`` is what is being done; that of a step is ``UPDATE`` outside the functions that are ``timed``."""

    def __init__(self) -> None:
        self.phase = START
        self._seconds: dict[str, float] = {}
        self._since = 0.0

    def timed(self, phase: str, function: Callable[P, R]) -> Callable[P, R]:
        """``function`` with its time counted under ``phase``."""

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            before, outer, self.phase = time.monotonic(), self.phase, phase
            result = function(*args, **kwargs)
            self.phase = outer  # not after an error: its message names the phase
            self._seconds[phase] = self._seconds.get(phase, 0.0) + time.monotonic() - before
            return result

        return call

    def restart(self) -> None:
        """Forget what was before: steps come next."""
        self._since = time.monotonic()
        self._seconds.clear()

    def begin_step(self) -> None:
        """A step begins."""
        self.phase = UPDATE

    def lap(self) -> tuple[float, dict[str, float]]:
        """The seconds since the last lap or restart, and those of each phase."""
        seconds, phases = time.monotonic() - self._since, dict(self._seconds)
        self._since += seconds
        self._seconds.clear()
        return seconds, phases
