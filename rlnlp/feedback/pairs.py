"""The judgements of a feedback set as pairs that a reward model learns from, and as files of them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rlnlp.data.answers import Answer
from rlnlp.data.judged import Judged, Pair
from rlnlp.feedback.records import BETTER, FIRST, SECOND, TIE, Item, Judgement

Standing = tuple[Item, Judgement]


def comparisons(standing: Iterable[Standing]) -> list[Standing]:
    """The comparisons among judgements that count; without repeats, which are for the audit only."""
    return [(item, one) for item, one in standing if one.verdict.kind == BETTER and item.repeat_of is None]


def judged_rows(
    standing: Iterable[Standing], names: Mapping[int, str], weights: Mapping[str, float], source: str
) -> list[Judged]:
    """The comparisons as rows to learn from. ``names`` are those of the annotators, ``weights`` how much the judgements
    of each count (1 if not named, 0 leaves them out), ``source`` the name of the set.
    """
    return [
        Judged(
            item.prompt, item.responses, (_pair(one),), None, weights.get(names[one.annotator], 1.0),
            names[one.annotator], None, f"{source}:{item.id}",
        )
        for item, one in comparisons(standing)
        if weights.get(names[one.annotator], 1.0) > 0
    ]  # fmt: skip


def used(standing: Iterable[Standing]) -> list[dict[str, Any]]:
    """What identifies judgements that are learned from, for a checkpoint: in the order of items and annotators."""
    return [
        {"item": item.id, "annotator": one.annotator, "revision": one.revision, "sha256": item.sha256,
         "preference": one.verdict.preference}
        for item, one in comparisons(standing)
    ]  # fmt: skip


def pair_lines(standing: Iterable[Standing], names: Mapping[int, str]) -> list[str]:
    """The comparisons as lines of JSON: ``chosen``, ``rejected``; ties as ``text1``, ``text2`` and ``preference``."""
    return [json.dumps(_record(item, one, names[one.annotator])) for item, one in comparisons(standing)]


def _record(item: Item, judgement: Judgement, annotator: str) -> dict[str, Any]:
    pair, answers = _pair(judgement), [written(answer) for answer in item.responses]
    names = ("text1", "text2") if pair.target == TIE else ("chosen", "rejected")
    asked = {} if item.prompt is None else {"prompt": item.prompt}
    said = {name: answers[i] for name, i in zip(names, pair[:2], strict=True)}
    tie = {"preference": TIE} if pair.target == TIE else {}
    sampled = {"run": item.run, "step": item.step, "round": item.round} if item.run else {}
    return {**asked, **said, **tie, "annotator": annotator, **sampled}


def _pair(judgement: Judgement) -> Pair:
    if judgement.verdict.preference == TIE:
        return Pair(0, 1, TIE)
    return Pair(0, 1) if judgement.verdict.preference == FIRST else Pair(int(SECOND), int(FIRST))


def written(answer: Answer) -> Any:
    """An answer as files have it: a text, or messages."""
    return answer if isinstance(answer, str) else [answer]
