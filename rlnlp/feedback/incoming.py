"""Judgements from files of other makers, in one form: what was asked, who judged, and how."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rlnlp.data.answers import IDENTICAL, Answer, BadRecord, Unusable, prompt_and_answers, words
from rlnlp.data.formats import Record
from rlnlp.data.judged import ALONE, EMPTY, judged
from rlnlp.feedback.records import BETTER, FIRST, RATED, SECOND, SKIPPED, TIE, NewItem, Verdict, content_sha256
from rlnlp.models.chat import Prompt


@dataclass(frozen=True)
class Incoming:
    """A judgement from a file. ``shown_first`` is the response that was shown on the left, None if it is not said."""

    item: NewItem
    annotator: str
    verdict: Verdict
    seconds: float | None = None
    shown_first: int | None = None


def compared(
    prompt: Prompt | None, responses: tuple[Answer, ...], verdict: Verdict, annotator: str,
    seconds: float | None = None, shown_first: int | None = None,
) -> Incoming:  # fmt: skip
    """A comparison, its responses in an order of their own: the same two are the same item, whoever was preferred."""
    if repr(responses[0]) <= repr(responses[1]):
        return Incoming(NewItem(prompt, responses), annotator, verdict, seconds, shown_first)
    swapped = replace(verdict, preference=None if verdict.preference is None else 1 - verdict.preference)
    first = None if shown_first is None else 1 - shown_first
    return Incoming(NewItem(prompt, responses[::-1]), annotator, swapped, seconds, first)


def asked_sha256(prompt: Prompt | None, responses: tuple[Answer, ...]) -> str:
    """What is asked about, in whatever order the responses are, as one number."""
    if len(responses) == 2:
        responses = compared(prompt, responses, Verdict(SKIPPED), "").item.responses
    return content_sha256(prompt, responses)


def named(found: Iterable[Incoming]) -> list[Incoming]:
    """The same with names for the items: those of the same texts are one item, to be judged once by each annotator.

    Where an annotator judged the same texts several times, each time after the first is an item of its own.
    """
    times: Counter[tuple[str, str]] = Counter()
    made = []
    for one in found:
        sha256 = content_sha256(one.item.prompt, one.item.responses)
        times[sha256, one.annotator] += 1
        number = times[sha256, one.annotator]
        uid = f"file:{sha256}" if number == 1 else f"file:{sha256}:{number}"
        made.append(replace(one, item=replace(one.item, uid=uid)))
    wanted = Counter(one.item.uid for one in made if one.verdict.kind != SKIPPED)
    return [replace(one, item=replace(one.item, overlap=max(1, wanted[one.item.uid]))) for one in made]


def standard(location: str, record: Record, source: str) -> Iterator[Incoming]:
    """The judgements of a record of the standard forms (rlnlp/data/judged.py): of several answers those of each pair,
    of one its rating.

    ``source`` stands for the annotator where none is named.

    Raises:
        BadRecord: it is none.
        Unusable: it is one that says nothing.
    """
    read = judged(location, record, {}, None, 1)
    annotator = read.annotator or source
    if len(read.answers) == 1:
        if read.ratings is None:
            raise Unusable(ALONE)
        whole = int(read.ratings[0]) if read.ratings[0] == int(read.ratings[0]) else read.ratings[0]
        yield replace(rated(read.prompt, read.answers, whole, annotator), seconds=_seconds(record))
    shown = 0 if "text1" in record and "text2" in record else None
    for pair in read.pairs:
        i, j = sorted(pair[:2])
        preference = TIE if pair.target == TIE else FIRST if pair.chosen == i else SECOND
        both = (read.answers[i], read.answers[j])
        yield compared(read.prompt, both, Verdict(BETTER, preference), annotator, _seconds(record), shown)


def rated(prompt: Prompt | None, responses: tuple[Answer, ...], rating: Any, annotator: str) -> Incoming:
    """A rating of one response.

    Raises:
        BadRecord: it is no whole number from 1 to 10.
    """
    try:
        verdict = Verdict(RATED, rating=rating)
    except ValueError as error:
        raise BadRecord(str(error)) from error
    return Incoming(NewItem(prompt, responses), annotator, verdict)


def answered(prompt: Any, answers: Mapping[str, Any]) -> tuple[Prompt | None, tuple[Answer, ...]]:
    """A prompt and the answers to it, given by the names of their fields, as texts or as messages.

    Raises:
        BadRecord: they are neither.
        Unusable: two answers are the same, or one is empty.
    """
    asked, found = prompt_and_answers(prompt, list(answers.items()))
    texts = [words(answer) for answer in found]
    if len(set(texts)) < len(texts):
        raise Unusable(IDENTICAL)
    if not all(text.strip() for text in texts):
        raise Unusable(EMPTY)
    return asked, tuple(found)


def _seconds(record: Record) -> float | None:
    value = record.get("seconds")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None
