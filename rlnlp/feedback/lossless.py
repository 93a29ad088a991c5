"""A feedback set as lines of JSON that lose nothing: every item, every revision of every judgement, who and when."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rlnlp.data.answers import BadRecord
from rlnlp.data.formats import Record
from rlnlp.feedback.merge import merge
from rlnlp.feedback.records import Item, Judgement, Verdict, content_sha256
from rlnlp.feedback.store import Store

VERSION = 1
MARK = "rlnlp_feedback"  # in the first line


def is_lossless(record: Record) -> bool:
    """True for the first record of such a file."""
    return MARK in record


def lossless_lines(store: Store) -> Iterator[str]:
    """The set, a record in each line: the set itself, its annotators, items, judgements. Links are not among them."""
    yield json.dumps({MARK: VERSION, "seed": store.seed})
    items, people = store.items(), store.annotators()
    uids, names = {item.id: item.uid for item in items}, {one.id: one.name for one in people}
    for one in people:
        yield json.dumps({"annotator": one.name, "kind": one.kind})
    for item in items:
        yield json.dumps(_item(item, uids, names))
    for judgement in store.judgements():
        yield json.dumps(_judgement(judgement, uids, names))


def read_lossless(store: Store, rows: Sequence[tuple[str, Record]]) -> tuple[int, int]:
    """Add what ``rows`` have and the set does not: the numbers of items and of judgements that were added.

    What the set has already is known by its name and stays as it is; so reading a file twice changes nothing.

    Raises:
        BadRecord: with its place, for a row that is none, or of a later version; then nothing is added.
    """
    location, first = rows[0]
    if first[MARK] != VERSION:
        raise BadRecord(f"{location}: written by a later version of rlnlp ({MARK} {first[MARK]!r})")
    people: list[tuple[str, str]] = []
    items: list[tuple[Item, str | None, str | None]] = []
    judgements: list[tuple[Judgement, str, str]] = []
    for location, row in rows[1:]:
        try:
            if "judgement" in row:
                judgements.append(_judgement_of(row))
            elif "item" in row:
                items.append(_item_of(row))
            else:
                people.append((str(row["annotator"]), str(row["kind"])))
        except (KeyError, TypeError, ValueError) as error:
            raise BadRecord(f"{location}: no record of a feedback set ({type(error).__name__}: {error})") from error
    return merge(store.tables, people, items, judgements)


def seed_of(first: Record) -> int:
    """The seed of the set that was written."""
    return int(first["seed"])


def _item(item: Item, uids: dict[int, str], names: dict[int, str]) -> dict[str, Any]:
    return {
        "item": item.uid, "prompt": item.prompt, "responses": list(item.responses), "run": item.run, "step": item.step,
        "round": item.round, "overlap": item.overlap,
        "repeat_of": None if item.repeat_of is None else uids[item.repeat_of],
        "annotator": None if item.annotator is None else names[item.annotator],
        "more": item.more, "created": item.created, "sha256": item.sha256,
    }  # fmt: skip


def _item_of(row: Record) -> tuple[Item, str | None, str | None]:
    """The item, the name of what it repeats, and for whom."""
    responses = tuple(row["responses"])
    if row["sha256"] != content_sha256(row["prompt"], responses):
        raise ValueError("its texts are not those of its sha256")
    item = Item(
        prompt=row["prompt"], responses=responses, run=row["run"], step=int(row["step"]), round=int(row["round"]),
        overlap=int(row["overlap"]), uid=str(row["item"]), more=row["more"], sha256=row["sha256"],
        created=row["created"],
    )  # fmt: skip
    return item, row["repeat_of"], row["annotator"]


def _judgement(judgement: Judgement, uids: dict[int, str], names: dict[int, str]) -> dict[str, Any]:
    verdict = judgement.verdict
    return {
        "judgement": judgement.request, "item": uids[judgement.item], "annotator": names[judgement.annotator],
        "revision": judgement.revision, "kind": verdict.kind, "preference": verdict.preference,
        "rating": verdict.rating, "confidence": verdict.confidence, "shown_first": judgement.shown_first,
        "seconds": judgement.seconds, "made": judgement.made,
    }  # fmt: skip


def _judgement_of(row: Record) -> tuple[Judgement, str, str]:
    """The judgement, the name of its item, and of its annotator."""
    verdict = Verdict(row["kind"], row["preference"], row["rating"], row["confidence"])
    judgement = Judgement(
        0, 0, 0, int(row["revision"]), verdict, row["shown_first"], row["seconds"], str(row["judgement"]), row["made"]
    )
    return judgement, str(row["item"]), str(row["annotator"])
