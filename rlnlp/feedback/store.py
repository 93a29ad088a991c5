"""A feedback set: one SQLite file that any number of processes and threads read and write at once.

What a method has returned from is on the disk: a judgement that was confirmed survives the death of the process and of
the machine.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from rlnlp.errors import Exit, Failure, one_line
from rlnlp.feedback.order import LOOKED_BACK, Answered, order_of, repeat_due
from rlnlp.feedback.records import (
    BETTER,
    PERSON,
    RATED,
    SKIPPED,
    UNDONE,
    Annotator,
    Item,
    Judgement,
    NewItem,
    Progress,
    Question,
    Stale,
    Verdict,
    content_sha256,
)
from rlnlp.feedback.rows import ITEM, JUDGEMENT, item_of, item_row, judgement_of, judgement_row, places
from rlnlp.feedback.schema import connect, now, random_name, reported, transaction

LEASE = 600.0  # seconds that an item is kept for whom it is shown to
REPEATED = 0.05  # fraction of an annotator's items that are asked again
_UNANSWERED = "NOT EXISTS (SELECT 1 FROM standing AS s WHERE s.item = i.id AND s.annotator = :me)"
_ROOM = """(SELECT count(*) FROM standing AS s WHERE s.item = i.id AND s.kind != 'skipped') + (
    SELECT count(*) FROM leases AS l WHERE l.item = i.id AND l.until > :now AND l.annotator != :me) < i.overlap"""
_OPEN = f"{_UNANSWERED} AND (i.annotator = :me OR i.repeat_of IS NULL AND {_ROOM})"


class Store:
    """The set at ``path``; made with ``seed`` if it is not there and may be made.

    ``repeated`` is the fraction of items that an annotator is asked again, for the audit. ``clock`` gives seconds that
    go on while no process runs: leases end by it.

    Raises:
        Failure: exit 3, for a file that is no feedback set; exit 5, if it cannot be read or written.
    """

    def __init__(
        self, path: Path, seed: int = 0, create: bool = True, repeated: float = REPEATED,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.path, self.repeated = path, repeated
        self._clock, self._lock = clock, threading.RLock()
        self._connection = connect(path, seed, create)
        self.seed = int(self._read("SELECT seed FROM feedback_set")[0][0])

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def add(self, items: Iterable[NewItem]) -> list[int]:
        """Add items in their order, all or none; return their ids. One whose ``uid`` is known stays as it is.

        Raises:
            Failure: exit 3, if what is known by that name asks something else.
        """
        with self._writing() as connection:
            return [self._added(connection, new) for new in items]

    def _added(self, connection: sqlite3.Connection, new: NewItem) -> int:
        sha256 = content_sha256(new.prompt, new.responses)
        known = connection.execute("SELECT id, sha256 FROM items WHERE uid = ?", (new.uid,)).fetchone()
        if new.uid and known is not None:
            if known[1] != sha256:
                what = f"item {one_line(new.uid, 60)} of {one_line(str(self.path))} has other texts than what is added"
                raise Failure(Exit.DATA, f"{what}\nuse another feedback set: data.feedback=FILE")
            return int(known[0])
        values = asdict(new) | {"uid": new.uid or random_name(), "responses": new.responses}
        item = Item(**values, sha256=sha256, created=now())
        return self._insert("items", ITEM, item_row(item))

    def annotator(self, name: str, kind: str = PERSON) -> Annotator:
        """The annotator with this name, who is noted when new.

        Raises:
            Failure: exit 2, for a name that is empty, too long or cannot be printed.
        """
        if not name.strip() or name != one_line(name, 80):
            what = f"'{one_line(name, 80)}' is no name of an annotator: one line of at most 80 characters"
            raise Failure(Exit.CONFIG, what)
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO annotators (name, kind) VALUES (?, ?)", (name, kind))
            return Annotator(*connection.execute("SELECT * FROM annotators WHERE name = ?", (name,)).fetchone())

    def next(self, annotator: Annotator) -> Question | None:
        """What to ask ``annotator``, for whom it is kept for ``LEASE`` seconds; None if nothing is left.

        First what was asked last and is unanswered, an undone answer before it; then a repeat that is due; then the
        first item that is open and not kept for others.
        """
        with self._writing() as connection:
            asked = {"me": annotator.id, "now": self._clock()}
            leased = f"""SELECT i.id FROM items AS i JOIN leases AS l ON l.item = i.id AND l.annotator = :me
                WHERE {_OPEN} ORDER BY l.until DESC, l.rowid DESC LIMIT 1"""
            fresh = f"SELECT i.id FROM items AS i WHERE {_OPEN} ORDER BY i.id LIMIT 1"
            found = connection.execute(leased, asked).fetchone()
            item = found[0] if found else self._repeat(annotator)
            if item is None and (found := connection.execute(fresh, asked).fetchone()):
                item = found[0]
            if item is None:
                return None
            self._lease(item, annotator)
            return self.question(annotator, item)

    def question(self, annotator: Annotator, item: int) -> Question | None:
        """An item as it is put to ``annotator``, with the order of its responses; None if there is none for them."""
        found = self._items("id = ? AND (annotator IS NULL OR annotator = ?)", item, annotator.id)
        if not found:
            return None
        last = self._read("SELECT max(revision) FROM judgements WHERE item = ? AND annotator = ?", item, annotator.id)
        return Question(found[0], self._order(annotator, found[0]), last[0][0] or 0)

    def judge(
        self, annotator: Annotator, question: Question, verdict: Verdict, seconds: float | None = None,
        request: str = "",
    ) -> Judgement:  # fmt: skip
        """Save a verdict as the revision after that of ``question``; the same ``request`` again gives the same.

        Raises:
            Stale: the annotator has judged the item since it was asked.
            ValueError: a comparison of one response, a rating of two, or an undone answer.
            Failure: exit 5, if it is not saved.
        """
        if verdict.kind == UNDONE or (verdict.kind, len(question.order)) in ((BETTER, 1), (RATED, 2)):
            raise ValueError(f"'{verdict.kind}' is no verdict on an item of {len(question.order)}")
        with self._writing() as connection:
            judgement = self._saved(annotator, question, verdict, seconds, request)
            connection.execute("DELETE FROM leases WHERE item = ? AND annotator = ?", (question.item.id, annotator.id))
            return judgement

    def undo(self, annotator: Annotator, request: str = "") -> Question | None:
        """Take back the annotator's last answer, which is asked again next; None if there is none.

        Raises:
            Failure: exit 5, if that is not saved.
        """
        with self._writing():
            if again := self._read("SELECT item FROM judgements WHERE request = ?", request or random_name()):
                return self.question(annotator, again[0][0])
            last = self._read("SELECT item FROM standing WHERE annotator = ? ORDER BY id DESC LIMIT 1", annotator.id)
            if not last or (question := self.question(annotator, last[0][0])) is None:
                return None
            self._saved(annotator, question, Verdict(UNDONE), None, request)
            self._lease(question.item.id, annotator)
            return self.question(annotator, question.item.id)

    def release(self, annotator: Annotator) -> None:
        """Keep nothing for ``annotator`` any longer."""
        with self._writing() as connection:
            connection.execute("DELETE FROM leases WHERE annotator = ?", (annotator.id,))

    def progress(self, annotator: Annotator) -> Progress:
        """How far ``annotator`` has come."""
        counts = dict(self._read("SELECT kind, count(*) FROM standing WHERE annotator = ? GROUP BY kind", annotator.id))
        asked = {"me": annotator.id, "now": self._clock()}
        with self._lock, reported(self.path):
            left = self._connection.execute(f"SELECT count(*) FROM items AS i WHERE {_OPEN}", asked).fetchone()[0]
        skipped = counts.pop(SKIPPED, 0)
        return Progress(sum(counts.values()), skipped, left)

    def wanted(self, run: str | None = None) -> int:
        """How many judgements the items still want, those of ``run`` only if it is given; repeats want none."""
        where = "" if run is None else " AND i.run = ?"
        return int(self._read(
            f"""SELECT coalesce(sum(max(0, i.overlap - (SELECT count(*) FROM standing AS s WHERE s.item = i.id AND
            s.kind != 'skipped'))), 0) FROM items AS i WHERE i.repeat_of IS NULL{where}""",
            *(() if run is None else (run,)),
        )[0][0])  # fmt: skip

    def items(self) -> list[Item]:
        """Every item, in the order in which they were added."""
        return self._items("1")

    def annotators(self) -> list[Annotator]:
        """Everyone who judges."""
        return [Annotator(*row) for row in self._read("SELECT * FROM annotators ORDER BY id")]

    def judgements(self) -> list[Judgement]:
        """Every judgement with every revision, in the order in which they were made."""
        return [judgement_of(row) for row in self._read(f"SELECT {JUDGEMENT} FROM judgements ORDER BY id")]

    def standing(self) -> list[tuple[Item, Judgement]]:
        """The judgements that count, with their items, by item and annotator; also those skipped and of repeats."""
        with self._lock:
            known = {item.id: item for item in self.items()}
            rows = self._read(f"SELECT {JUDGEMENT} FROM standing ORDER BY item, annotator")
        return [(known[judgement.item], judgement) for judgement in map(judgement_of, rows)]

    def link(self, annotator: Annotator, sha256: str) -> None:
        """Let whoever has the text with this sha256 judge as ``annotator``."""
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO links VALUES (?, ?, ?)", (sha256, annotator.id, now()))

    def linked(self, sha256: str) -> Annotator | None:
        """Who judges with the text with this sha256."""
        rows = self._read("SELECT * FROM annotators WHERE id = (SELECT annotator FROM links WHERE sha256 = ?)", sha256)
        return Annotator(*rows[0]) if rows else None

    def _saved(
        self, annotator: Annotator, question: Question, verdict: Verdict, seconds: float | None, request: str
    ) -> Judgement:
        item = question.item.id
        for row in self._read(f"SELECT {JUDGEMENT} FROM judgements WHERE request = ?", request or random_name()):
            same = judgement_of(row)
            if (same.item, same.annotator) != (item, annotator.id):
                raise ValueError("a request of another judgement")
            return same
        last = self._read("SELECT max(revision) FROM judgements WHERE item = ? AND annotator = ?", item, annotator.id)
        if (last[0][0] or 0) != question.revision:
            raise Stale
        judgement = Judgement(
            0, item, annotator.id, question.revision + 1, verdict, question.order[0], seconds,
            request or random_name(), now(),
        )  # fmt: skip
        id_ = self._insert("judgements", JUDGEMENT, judgement_row(judgement))
        return judgement_of(self._read(f"SELECT {JUDGEMENT} FROM judgements WHERE id = ?", id_)[0])

    def _order(self, annotator: Annotator, item: Item) -> tuple[int, ...]:
        if item.repeat_of is not None:
            original = self._items("id = ?", item.repeat_of)[0]
            return order_of(self.seed, original.uid, annotator.name, len(item.responses))[::-1]
        return order_of(self.seed, item.uid, annotator.name, len(item.responses))

    def _repeat(self, annotator: Annotator) -> int | None:
        """The id of a repeat that is due, which is made."""
        rows = self._read(
            """SELECT i.id, i.uid, s.kind != 'skipped' AND NOT EXISTS (
                SELECT 1 FROM items AS r WHERE r.repeat_of = i.id AND r.annotator = s.annotator)
            FROM standing AS s JOIN items AS i ON i.id = s.item AND i.repeat_of IS NULL WHERE s.annotator = ? ORDER BY
            (SELECT min(j.id) FROM judgements AS j WHERE j.item = s.item AND j.annotator = s.annotator) DESC LIMIT ?""",
            annotator.id, LOOKED_BACK,
        )  # fmt: skip
        due = repeat_due(self.seed, annotator.name, [Answered(*row) for row in reversed(rows)], self.repeated)
        if due is None:
            return None
        again = self._items("id = ?", due)[0]
        uid = f"{again.uid}:again:{annotator.name}"
        made = replace(again, id=0, uid=uid, overlap=1, repeat_of=due, annotator=annotator.id, created=now())
        return self._insert("items", ITEM, item_row(made))

    def _lease(self, item: int, annotator: Annotator) -> None:
        row = (item, annotator.id, self._clock() + LEASE)
        self._connection.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", row)

    def _items(self, where: str, *values: int) -> list[Item]:
        return [item_of(row) for row in self._read(f"SELECT {ITEM} FROM items WHERE {where} ORDER BY id", *values)]

    def _insert(self, table: str, columns: str, row: Sequence[object]) -> int:
        added = self._connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places(columns)})", row)
        return int(added.lastrowid or 0)

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, reported(self.path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, reported(self.path), transaction(self._connection):
            yield self._connection
