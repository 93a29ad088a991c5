"""A feedback set as several processes see it: what the first one reads is what all of them work with."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from rlnlp.feedback.records import Annotator, Item, Judgement, NewItem
from rlnlp.feedback.store import Store
from rlnlp.processes.rows import is_first, told


class ToldStore(AbstractContextManager["ToldStore"]):
    """The set at ``path``, which the first process alone opens. People and other runs may add to it at any time: that
    all processes read it by themselves would let them learn from different judgements.

    Raises:
        Failure: as ``Store``.
    """

    def __init__(self, path: Path, seed: int, repeated: float) -> None:
        self.path = path
        self.store = Store(path, seed, repeated=repeated) if is_first() else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.store is not None:
            self.store.close()

    def add(self, items: Sequence[NewItem]) -> None:
        """As ``Store.add``."""
        if self.store is not None:
            self.store.add(items)

    def items(self) -> list[Item]:
        """As ``Store.items``."""
        return told(lambda: self._open.items())

    def annotators(self) -> list[Annotator]:
        """As ``Store.annotators``."""
        return told(lambda: self._open.annotators())

    def judgements(self) -> list[Judgement]:
        """As ``Store.judgements``."""
        return told(lambda: self._open.judgements())

    def standing(self) -> list[tuple[Item, Judgement]]:
        """As ``Store.standing``."""
        return told(lambda: self._open.standing())

    @property
    def _open(self) -> Store:
        assert self.store is not None, "asked in the first process alone"
        return self.store
