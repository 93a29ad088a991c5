"""A feedback set: one SQLite file that any number of processes and threads read and write at once.

What a method has returned from is on the disk: a judgement that was confirmed survives the death of the process and of
the machine.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType

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
from rlnlp.feedback.schema import now, random_name
from rlnlp.feedback.tables import Tables

LEASE = 600.0  # seconds that an item is kept for whom it is shown to
REPEATED = 0.05  # fraction of an annotator's items that are asked again
_UNANSWERED = "NOT EXISTS (SELECT 1 FROM standing AS s WHERE s.item = i.id AND s.annotator = :me)"
_ROOM = """(SELECT count(*) FROM standing AS s WHERE s.item = i.id AND s.kind != 'skipped') + (
    SELECT count(*) FROM leases AS l WHERE l.item = i.id AND l.until > :now AND l.annotator != :me) < i.overlap"""
_ASKED = """i.repeat_of IS NULL AND (:run IS NULL OR i.run = :run) AND (:round IS NULL OR i.round = :round
    AND i.step = (SELECT max(l.step) FROM items AS l WHERE l.run = :run AND l.round = :round))"""
_WANTING = "(SELECT count(*) FROM standing AS s WHERE s.item = i.id AND s.kind != 'skipped') < i.overlap"
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
        self.path, self.repeated, self._clock = path, repeated, clock
        self.tables = Tables(path, seed, create)
        self.seed = self.tables.seed

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.tables.close()

    def add(self, items: Iterable[NewItem]) -> list[int]:
        """Add items in their order, all or none; return their ids. One whose ``uid`` is known stays as it is.

        Raises:
            Failure: exit 3, if what is known by that name asks something else.
        """
        with self.tables.writing():
            return [self._added(new) for new in items]

    def annotator(self, name: str, kind: str = PERSON) -> Annotator:
        """The annotator with this name, who is noted when new.

        Raises:
            Failure: exit 2, for a name that is empty, too long or cannot be printed.
        """
        if not name.strip() or name != one_line(name, 80):
            what = f"'{one_line(name, 80)}' is no name of an annotator: one line of at most 80 characters"
            raise Failure(Exit.CONFIG, what)
        with self.tables.writing():
            self.tables.write("INSERT OR IGNORE INTO annotators (name, kind) VALUES (?, ?)", name, kind)
            return self.tables.annotators("name = ?", name)[0]

    def next(self, annotator: Annotator) -> Question | None:
        """What to ask ``annotator``, for whom it is kept for ``LEASE`` seconds; None if nothing is left.

        First what was asked last and is unanswered, an undone answer before it; then a repeat that is due; then the
        first item that is open and not kept for others.
        """
        with self.tables.writing():
            leased = f"""SELECT i.id FROM items AS i JOIN leases AS l ON l.item = i.id AND l.annotator = :me
                WHERE {_OPEN} ORDER BY l.until DESC, l.rowid DESC LIMIT 1"""
            fresh = f"SELECT i.id FROM items AS i WHERE {_OPEN} ORDER BY i.id LIMIT 1"
            item = self._asked(leased, annotator) or self._repeat(annotator) or self._asked(fresh, annotator)
            if item is None:
                return None
            self._lease(item, annotator)
            return self.question(annotator, item)

    def question(self, annotator: Annotator, item: int) -> Question | None:
        """An item as it is put to ``annotator``, with the order of its responses; None if there is none for them."""
        found = self.tables.items("id = ? AND (annotator IS NULL OR annotator = ?)", item, annotator.id)
        if not found:
            return None
        return Question(found[0], self._order(annotator, found[0]), self.tables.last_revision(item, annotator.id))

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
        with self.tables.writing():
            judgement = self._saved(annotator, question, verdict, seconds, request)
            self.tables.write("DELETE FROM leases WHERE item = ? AND annotator = ?", question.item.id, annotator.id)
            return judgement

    def undo(self, annotator: Annotator, request: str = "") -> Question | None:
        """Take back the annotator's last answer, which is asked again next; None if there is none.

        Raises:
            Failure: exit 5, if that is not saved.
        """
        with self.tables.writing():
            if request and (again := self.tables.judgements("request = ?", request)):
                return self.question(annotator, again[0].item)
            last = self.tables.read(
                "SELECT item FROM standing WHERE +annotator = ? ORDER BY id DESC LIMIT 1", annotator.id
            )
            if not last or (question := self.question(annotator, last[0][0])) is None:
                return None
            self._saved(annotator, question, Verdict(UNDONE), None, request)
            self._lease(question.item.id, annotator)
            return self.question(annotator, question.item.id)

    def release(self, annotator: Annotator) -> None:
        """Keep nothing for ``annotator`` any longer."""
        with self.tables.writing():
            self.tables.write("DELETE FROM leases WHERE annotator = ?", annotator.id)

    def progress(self, annotator: Annotator) -> Progress:
        """How far ``annotator`` has come."""
        counted = "SELECT kind, count(*) FROM standing WHERE annotator = ? GROUP BY kind"
        counts = dict(self.tables.read(counted, annotator.id))
        left = f"SELECT count(*) FROM items AS i WHERE {_OPEN}"
        skipped = counts.pop(SKIPPED, 0)
        return Progress(sum(counts.values()), skipped, self.tables.read(left, me=annotator.id, now=self._clock())[0][0])

    def answers(self) -> int:
        """How many judgements count, also those skipped and of repeats."""
        return int(self.tables.read("SELECT count(*) FROM standing")[0][0])

    def wanted(self, run: str | None = None, round_: int | None = None) -> int:
        """How many judgements the items still want; repeats want none.

        With ``run`` of its items alone, with ``round_`` of those that it asked last in this round.
        """
        query = f"""SELECT coalesce(sum(max(0, i.overlap - (SELECT count(*) FROM standing AS s WHERE s.item = i.id
            AND s.kind != 'skipped'))), 0) FROM items AS i WHERE {_ASKED}"""
        return int(self.tables.read(query, run=run, round=round_)[0][0])

    def asked(self, run: str | None = None, round_: int | None = None) -> int:
        """How many judgements the same items want in all, made or not."""
        return int(self.tables.read(
            f"SELECT coalesce(sum(i.overlap), 0) FROM items AS i WHERE {_ASKED}", run=run, round=round_
        )[0][0])  # fmt: skip

    def given_up(self, names: Sequence[str], run: str | None = None, round_: int | None = None) -> bool:
        """True if all of ``names`` have answered or skipped what is still wanted of these items, and none is shown."""
        query = f"""SELECT EXISTS (SELECT 1 FROM items AS i WHERE {_ASKED} AND {_WANTING} AND (
            EXISTS (SELECT 1 FROM leases AS l WHERE l.item = i.id AND l.until > :now) OR NOT EXISTS (
                SELECT 1 FROM standing AS s JOIN annotators AS a ON a.id = s.annotator
                WHERE s.item = i.id AND a.name = :name)))"""
        given = {"run": run, "round": round_, "now": self._clock()}
        return bool(names) and not any(self.tables.read(query, name=name, **given)[0][0] for name in names)

    def items(self) -> list[Item]:
        """Every item, in the order in which they were added."""
        return self.tables.items()

    def annotators(self) -> list[Annotator]:
        """Everyone who judges."""
        return self.tables.annotators()

    def judgements(self) -> list[Judgement]:
        """Every judgement with every revision, in the order in which they were made."""
        return self.tables.judgements()

    def standing(self) -> list[tuple[Item, Judgement]]:
        """The judgements that count, with their items, by item and annotator; also those skipped and of repeats."""
        found = sorted(self.tables.judgements(table="standing"), key=lambda each: (each.item, each.annotator))
        known = {item.id: item for item in self.items()}  # read later: each judgement's item is there
        return [(known[judgement.item], judgement) for judgement in found]

    def link(self, annotator: Annotator, sha256: str) -> None:
        """Let whoever has the text with this sha256 judge as ``annotator``."""
        with self.tables.writing():
            self.tables.write("INSERT OR IGNORE INTO links VALUES (?, ?, ?)", sha256, annotator.id, now())

    def linked(self, sha256: str) -> Annotator | None:
        """Who judges with the text with this sha256."""
        found = self.tables.annotators("id = (SELECT annotator FROM links WHERE sha256 = ?)", sha256)
        return found[0] if found else None

    def _added(self, new: NewItem) -> int:
        sha256 = content_sha256(new.prompt, new.responses)
        known = self.tables.items("uid = ?", new.uid) if new.uid else []
        if known and known[0].sha256 != sha256:
            what = f"item {one_line(new.uid, 60)} of {one_line(str(self.path))} has other texts than what is added"
            raise Failure(Exit.DATA, f"{what}\nuse another feedback set: data.feedback=FILE")
        if known:
            return known[0].id
        values = asdict(new) | {"uid": new.uid or random_name(), "responses": new.responses}
        return self.tables.add_item(Item(**values, sha256=sha256, created=now()))

    def _saved(
        self, annotator: Annotator, question: Question, verdict: Verdict, seconds: float | None, request: str
    ) -> Judgement:
        item = question.item.id
        for same in self.tables.judgements("request = ?", request) if request else ():
            if (same.item, same.annotator) != (item, annotator.id):
                raise ValueError("a request of another judgement")
            return same
        if self.tables.last_revision(item, annotator.id) != question.revision:
            raise Stale
        judgement = Judgement(
            0, item, annotator.id, question.revision + 1, verdict, question.order[0], seconds,
            request or random_name(), now(),
        )  # fmt: skip
        return replace(judgement, id=self.tables.add_judgement(judgement))

    def _asked(self, query: str, annotator: Annotator) -> int | None:
        found = self.tables.read(query, me=annotator.id, now=self._clock())
        return int(found[0][0]) if found else None

    def _order(self, annotator: Annotator, item: Item) -> tuple[int, ...]:
        if item.repeat_of is not None:
            original = self.tables.items("id = ?", item.repeat_of)[0]
            return order_of(self.seed, original.uid, annotator.name, len(item.responses))[::-1]
        return order_of(self.seed, item.uid, annotator.name, len(item.responses))

    def _repeat(self, annotator: Annotator) -> int | None:
        """The id of a repeat that is due, which is made."""
        rows = self.tables.read(  # the plus lets them be found from the last one on, without sorting all of them
            """SELECT i.id, i.uid, s.kind != 'skipped' AND NOT EXISTS (
                SELECT 1 FROM items AS r WHERE r.repeat_of = i.id AND r.annotator = s.annotator)
            FROM judgements AS f JOIN items AS i ON i.id = f.item AND i.repeat_of IS NULL
            JOIN standing AS s ON s.item = f.item AND s.annotator = f.annotator
            WHERE +f.annotator = ? AND f.revision = 1 ORDER BY f.id DESC LIMIT ?""",
            annotator.id,
            LOOKED_BACK,
        )
        due = repeat_due(self.seed, annotator.name, [Answered(*row) for row in reversed(rows)], self.repeated)
        if due is None:
            return None
        again = self.tables.items("id = ?", due)[0]
        uid = f"{again.uid}:again:{annotator.name}"
        made = replace(again, id=0, uid=uid, overlap=1, repeat_of=due, annotator=annotator.id, created=now())
        return self.tables.add_item(made)

    def _lease(self, item: int, annotator: Annotator) -> None:
        until = self._clock() + LEASE
        self.tables.write("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", item, annotator.id, until)
