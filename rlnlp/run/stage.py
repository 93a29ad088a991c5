"""A stage of a run: some of its steps, numbered from 1, with random streams and lines of the log of their own."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from rlnlp.run.parts import Parts
from rlnlp.run.run import Run


class Stage:
    """The steps after step ``before`` of ``run``, as the ``Steps`` of an algorithm's loop.

    ``name`` and ``round`` stand in each line of the log, and tell its random streams from those of other rounds.
    ``over(metrics)`` says after each step whether the stage ends with it; whether it has ended, ``ended`` knows.
    """

    def __init__(
        self, run: Run, name: str, round: int, before: int, over: Callable[[Mapping[str, float]], bool]
    ) -> None:
        self.run, self.name, self.round, self.before = run, name, round, before
        self._over, self.ended = over, False

    def steps(self, total: int, parts: Parts) -> Iterator[int]:
        """Those of the ``total`` steps that are not done; the run has restored the ``parts`` already."""
        for step in self.run.next_steps(self.before + total, lambda: self.ended, self.before + 1):
            yield step - self.before

    def rng(self, name: str, *index: int) -> np.random.Generator:
        """A fresh generator of the stream ``name`` of this round."""
        return self.run.rng(f"round-{self.round}:{name}", *index)

    def log(self, step: int, *, episodes: int, tokens: int, **values: float) -> None:
        """Log the metrics ``values`` of a step of the stage."""
        labels: dict[str, int | str] = {"step": self.before + step, "round": self.round, "stage": self.name}
        self.run.log_step(labels, values, episodes, tokens)
        self.ended = self._over(values)
