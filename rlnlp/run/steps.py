"""What an algorithm's loop needs of a run: its steps, its random streams, its log."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from rlnlp.run.parts import Parts


class Steps(Protocol):
    """The steps of a run, or of a stage of one; a ``Run`` is one."""

    def steps(self, total: int, parts: Parts) -> Iterator[int]:
        """The steps up to ``total`` that are not done, from 1 on; ``parts`` are restored first, and saved as due."""
        ...

    def rng(self, name: str, *index: int) -> np.random.Generator:
        """A fresh generator of the stream ``name``, such as ``rng("sampling", step)``."""
        ...

    def log(self, step: int, *, episodes: int, tokens: int, **values: float) -> None:
        """Log the metrics ``values`` of ``step``; ``episodes`` and ``tokens`` are those of this step."""
        ...
