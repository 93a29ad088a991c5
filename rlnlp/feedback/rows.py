"""Rows of the tables as records, and the other way round."""

import json
from collections.abc import Sequence
from typing import Any

from rlnlp.feedback.records import Item, Judgement, Verdict

ITEM = "id, uid, prompt, responses, run, step, round, overlap, repeat_of, annotator, sha256, more, created"
JUDGEMENT = "id, item, annotator, revision, kind, preference, rating, confidence, shown_first, seconds, request, made"


def item_of(row: Sequence[Any]) -> Item:
    """A row of ``ITEM`` as an item."""
    id_, uid, prompt, responses, run, step, round_, overlap, repeat_of, annotator, sha256, more, created = row
    return Item(
        prompt=json.loads(prompt), responses=tuple(json.loads(responses)), run=run, step=step, round=round_,
        overlap=overlap, uid=uid, more=json.loads(more), id=id_, sha256=sha256, repeat_of=repeat_of,
        annotator=annotator, created=created,
    )  # fmt: skip


def item_row(item: Item) -> tuple[Any, ...]:
    """An item as the values of ``ITEM``; an id of 0 is left to the table."""
    return (
        item.id or None, item.uid, json.dumps(item.prompt), json.dumps(list(item.responses)), item.run, item.step,
        item.round, item.overlap, item.repeat_of, item.annotator, item.sha256,
        json.dumps(item.more, sort_keys=True, allow_nan=False), item.created,
    )  # fmt: skip


def judgement_of(row: Sequence[Any]) -> Judgement:
    """A row of ``JUDGEMENT`` as a judgement."""
    id_, item, annotator, revision, kind, preference, rating, confidence, shown_first, seconds, request, made = row
    verdict = Verdict(kind, preference, rating, confidence)
    return Judgement(id_, item, annotator, revision, verdict, shown_first, seconds, request, made)


def judgement_row(judgement: Judgement) -> tuple[Any, ...]:
    """A judgement as the values of ``JUDGEMENT``; an id of 0 is left to the table."""
    verdict = judgement.verdict
    return (
        judgement.id or None, judgement.item, judgement.annotator, judgement.revision, verdict.kind,
        verdict.preference, verdict.rating, verdict.confidence, judgement.shown_first, judgement.seconds,
        judgement.request, judgement.made,
    )  # fmt: skip


def places(columns: str) -> str:
    """As many question marks as there are ``columns``."""
    return ", ".join("?" * len(columns.split(",")))
