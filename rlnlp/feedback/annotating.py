"""The contract of all annotators, simulated or people: who asks does not know which of them answers."""

from collections.abc import Callable
from typing import Protocol

from rlnlp.feedback.store import Store


class Annotators(Protocol):
    """Whoever judges what is in a feedback set."""

    def collect(self, store: Store, enough: Callable[[], bool]) -> None:
        """Judge items of ``store``, each judgement saved at once, until ``enough()`` says so or nothing is left.

        Returns before that when people leave: what is still wanted, the set says (``Store.wanted``).
        """
        ...
