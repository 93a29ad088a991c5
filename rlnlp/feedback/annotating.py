"""The contract of all annotators, simulated or people: who asks does not know which of them answers."""

from collections.abc import Callable, Sequence
from typing import Protocol

from rlnlp.feedback.store import Store


class Annotators(Protocol):
    """Whoever judges what is in a feedback set.

    ``names`` are those of whom is known who they are; ``draws`` is True of what needs the terminal for itself.
    """

    names: Sequence[str]
    draws: bool

    def collect(self, store: Store, enough: Callable[[], bool]) -> None:
        """Judge items of ``store``, each judgement saved at once, until ``enough()`` says so or nothing is left.

        Returns before that when people leave: what is still wanted, the set says (``Store.wanted``).
        """
        ...
