"""Judgements that were made elsewhere, added to a feedback set: all of them or none, and each once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TypeVar

from rlnlp.data.answers import BadRecord
from rlnlp.feedback.incoming import Incoming
from rlnlp.feedback.records import FILE, SKIPPED, Item, Judgement, NewItem, content_sha256
from rlnlp.feedback.schema import now, random_name
from rlnlp.feedback.tables import Tables

Known = TypeVar("Known")
Counts = tuple[int, int]  # items and judgements that were added


def merge(
    tables: Tables,
    people: Iterable[tuple[str, str]],
    items: Sequence[tuple[Item, str | None, str | None]],
    judgements: Sequence[tuple[Judgement, str, str]],
) -> Counts:
    """Add what another set has and this one does not, known by the names of items and the requests of judgements.

    ``people`` are names and kinds, ``items`` come with the name of what they repeat and for whom, ``judgements`` with
    the names of their item and annotator. A judgement whose revision is taken becomes the latest one.

    Raises:
        BadRecord: an item of the same name asks something else, or something is named that is not there.
    """
    before = _counts(tables)
    with tables.writing():
        for name, kind in people:
            tables.write("INSERT OR IGNORE INTO annotators (name, kind) VALUES (?, ?)", name, kind)
        who = {one.name: one.id for one in tables.annotators()}
        known = {item.uid: item for item in tables.items()}
        for item, repeat_of, annotator in items:
            if item.uid in known and known[item.uid].sha256 != item.sha256:
                raise BadRecord(f"item {item.uid} has other texts in the set")
            if item.uid not in known:
                original = None if repeat_of is None else _known(known, repeat_of, "item").id
                person = None if annotator is None else _known(who, annotator, "annotator")
                made = replace(item, repeat_of=original, annotator=person)
                known[item.uid] = replace(made, id=tables.add_item(made))
        requests = {request for (request,) in tables.read("SELECT request FROM judgements")}
        for judgement, uid, annotator in judgements:
            if judgement.request not in requests:
                item_id, person = _known(known, uid, "item").id, _known(who, annotator, "annotator")
                last = tables.last_revision(item_id, person)
                free = judgement.revision > last
                tables.add_judgement(replace(
                    judgement, item=item_id, annotator=person, revision=judgement.revision if free else last + 1
                ))  # fmt: skip
    return _added(before, _counts(tables))


def add_incoming(tables: Tables, found: Sequence[Incoming], unjudged: Sequence[NewItem] = ()) -> Counts:
    """Add the judgements of files of other makers, and items without any.

    A judgement is known by its item and its annotator, an item by its name; each is added once.
    """
    before = _counts(tables)
    with tables.writing():
        for new in unjudged:
            _item(tables, new)
        for one in found:
            tables.write("INSERT OR IGNORE INTO annotators (name, kind) VALUES (?, ?)", one.annotator, FILE)
            annotator = tables.annotators("name = ?", one.annotator)[0].id
            item = _item(tables, one.item)
            if tables.last_revision(item.id, annotator) == 0:
                _make_room(tables, item, one)
                tables.add_judgement(Judgement(
                    0, item.id, annotator, 1, one.verdict, one.shown_first, one.seconds, random_name(), now()
                ))  # fmt: skip
    return _added(before, _counts(tables))


def _item(tables: Tables, new: NewItem) -> Item:
    """The item, which is added when it is new."""
    if known := tables.items("uid = ?", new.uid):
        return known[0]
    values = asdict(new) | {"responses": new.responses}
    item = Item(**values, sha256=content_sha256(new.prompt, new.responses), created=now())
    return replace(item, id=tables.add_item(item))


def _make_room(tables: Tables, item: Item, one: Incoming) -> None:
    """Let the item be judged by one annotator more, if it wants nobody else."""
    judged = tables.judgements("item = ? AND kind != 'skipped'", item.id, table="standing")
    if one.verdict.kind != SKIPPED and len(judged) >= item.overlap:
        tables.write("UPDATE items SET overlap = ? WHERE id = ?", len(judged) + 1, item.id)


def _known(named: Mapping[str, Known], name: str, what: str) -> Known:
    if name not in named:
        raise BadRecord(f"there is no {what} {name}")
    return named[name]


def _counts(tables: Tables) -> Counts:
    rows = tables.read("SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM judgements)")
    return rows[0][0], rows[0][1]


def _added(before: Counts, after: Counts) -> Counts:
    return after[0] - before[0], after[1] - before[1]
