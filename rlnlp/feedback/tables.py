"""The open file of a feedback set: its rows read and written as records, by any number of threads."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlnlp.feedback.records import Annotator, Item, Judgement
from rlnlp.feedback.rows import ITEM, JUDGEMENT, item_of, item_row, judgement_of, judgement_row, places
from rlnlp.feedback.schema import connect, reported, transaction


class Tables:
    """The set at ``path``; made with ``seed`` if it is not there and may be made.

    Raises:
        Failure: exit 3, for a file that is no feedback set; exit 5, if it cannot be read or written.
    """

    def __init__(self, path: Path, seed: int, create: bool) -> None:
        self.path, self._lock = path, threading.RLock()
        self._connection = connect(path, seed, create)
        self.seed = int(self.read("SELECT seed FROM feedback_set")[0][0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A block of which all is on the disk when it ends, or nothing; one at a time of all threads and processes.

        Inside another block it is a part of that.

        Raises:
            Failure: exit 5, if it is not saved.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            with reported(self.path), transaction(self._connection):
                yield

    def read(self, query: str, *values: object, **named: object) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._lock, reported(self.path):
            return self._connection.execute(query, named or values).fetchall()

    def write(self, statement: str, *values: object) -> None:
        """Change something; inside a block of ``writing``."""
        self._connection.execute(statement, values)

    def items(self, where: str = "1", *values: object) -> list[Item]:
        """Items, in the order in which they were added."""
        return [item_of(row) for row in self.read(f"SELECT {ITEM} FROM items WHERE {where} ORDER BY id", *values)]

    def judgements(self, where: str = "1", *values: object, table: str = "judgements") -> list[Judgement]:
        """Judgements, in the order in which they were made; of the ``table`` "standing" those that count."""
        rows = self.read(f"SELECT {JUDGEMENT} FROM {table} WHERE {where} ORDER BY id", *values)
        return [judgement_of(row) for row in rows]

    def annotators(self, where: str = "1", *values: object) -> list[Annotator]:
        """Annotators, in the order in which they came."""
        rows = self.read(f"SELECT id, name, kind FROM annotators WHERE {where} ORDER BY id", *values)
        return [Annotator(*row) for row in rows]

    def last_revision(self, item: int, annotator: int) -> int:
        """The revision of an annotator's last judgement of an item, 0 if there is none."""
        query = "SELECT coalesce(max(revision), 0) FROM judgements WHERE item = ? AND annotator = ?"
        return int(self.read(query, item, annotator)[0][0])

    def add_item(self, item: Item) -> int:
        """Add an item, whose id is left to the table; return it."""
        return self._insert("items", ITEM, item_row(item))

    def add_judgement(self, judgement: Judgement) -> int:
        """Add a judgement, whose id is left to the table; return it."""
        return self._insert("judgements", JUDGEMENT, judgement_row(judgement))

    def _insert(self, table: str, columns: str, row: Sequence[object]) -> int:
        statement = f"INSERT INTO {table} ({columns}) VALUES ({places(columns)})"
        added: sqlite3.Cursor = self._connection.execute(statement, row)
        return int(added.lastrowid or 0)
