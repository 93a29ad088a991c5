"""Answers that people judged, as one form however a record says it: a prompt, its answers, and the pairs of them.

Forms of a record: ``chosen`` and ``rejected``; ``text1``, ``text2`` and ``preference``; ``responses`` with ``ratings``
or a ``ranking``. Answers are texts or messages, with the ``prompt`` beside them or in front of each.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

from rlnlp.data.answers import (
    DIFFER,
    IDENTICAL,
    UNANSWERED,
    Answer,
    BadRecord,
    Unusable,
    prompt_and_answers,
    words,
)
from rlnlp.data.formats import Record
from rlnlp.models.chat import Prompt

TIE = 0.5
EMPTY, ALONE, CUT = "an answer is empty", "only one answer", "both sides are the same after cutting"
LONG = "an answer does not fit into the model's context behind its prompt"
REASONS = (DIFFER, UNANSWERED, IDENTICAL, EMPTY, ALONE, LONG, CUT)  # for which a row is left out
FORMS = "'chosen' and 'rejected', 'text1', 'text2' and 'preference', or 'responses' and 'ratings'"


class Unnamed(BadRecord):
    """A record without the fields of a form; ``lacking`` are those that it may have under other names."""

    def __init__(self, fault: str, *lacking: str) -> None:
        super().__init__(fault)
        self.lacking = lacking


class UnknownLabel(BadRecord):
    """A preference that is no number; ``label`` is what stands there."""

    def __init__(self, label: str) -> None:
        super().__init__(f"'preference' must be 0, 1 or .5, got {label!r}")
        self.label = label


class Pair(NamedTuple):
    """The positions of two answers; ``target`` is the probability that the chosen one is better: 1, or .5 for a tie.

    ``margin`` is how much better it was said to be, in units of the score (0 if that was not said).
    """

    chosen: int
    rejected: int
    target: float = 1.0
    margin: float = 0.0


@dataclass(frozen=True)
class Judged:
    """K answers to a prompt, and the pairs of them of which one was judged better or both alike.

    ``prompt`` is a text, messages, or None; ``ratings`` (K,), higher is better, is None where only an order is known.
    ``weight`` is how much the judgement counts, ``group`` what the data are to be split by.
    """

    prompt: Prompt | None
    answers: tuple[Answer, ...]
    pairs: tuple[Pair, ...]
    ratings: tuple[float, ...] | None
    weight: float
    annotator: str | None
    group: str | None
    location: str

    @property
    def texts(self) -> tuple[str, ...]:
        """The words of the answers (K,)."""
        return tuple(map(words, self.answers))

    def told_apart_by(self, look: Callable[[Prompt | None, Answer], Hashable]) -> "Judged":
        """The same without the pairs whose answers ``look`` alike to a model, such as their tokens after cutting.

        Raises:
            Unusable: no pair is left.
        """
        seen = [look(self.prompt, answer) for answer in self.answers]
        pairs = tuple(pair for pair in self.pairs if seen[pair.chosen] != seen[pair.rejected])
        if self.pairs and not pairs:
            raise Unusable(CUT)
        return replace(self, pairs=pairs)


def judged(location: str, record: Record, values: Mapping[str, float], group: str | None, fewest: int = 2) -> Judged:
    """A record as a judgement of at least ``fewest`` answers.

    ``values`` are the preferences that labels stand for: 0 if the first text is better, 1 the second, .5 neither.
    ``group`` is the column to split by.

    Raises:
        BadRecord: it is none.
        Unusable: it is one that says nothing.
    """
    said = {name: value for name, value in record.items() if value is not None}
    fields, pairs, ratings = _form(said, values)
    prompt, answers = prompt_and_answers(said.get("prompt"), fields)
    texts = [words(answer) for answer in answers]
    if len(texts) < fewest:
        raise Unusable(ALONE)
    telling = tuple(pair for pair in pairs if texts[pair.chosen] != texts[pair.rejected])
    if pairs and not telling:
        raise Unusable(IDENTICAL)
    if not all(text.strip() for text in texts):
        raise Unusable(EMPTY)
    weight = _number("weight", said.get("weight"), 1.0)
    if weight <= 0:
        raise BadRecord(f"'weight' must be more than 0, got {weight:g}")
    annotator = _name("annotator", said.get("annotator"))
    apart_by = None if group is None else _name(group, said.get(group))
    if group is not None and apart_by is None:
        raise BadRecord(f"no '{group}' to split by (it has: {', '.join(map(str, said))})")
    return Judged(prompt, tuple(answers), telling, ratings, weight, annotator, apart_by, location)


def _form(said: Record, values: Mapping[str, float]) -> tuple[list[tuple[str, Any]], list[Pair], Any]:
    """The answers of a record with their fields' names, the pairs of them, and their ratings."""
    if "chosen" in said and "rejected" in said:
        return _two(said, "chosen", "rejected"), [Pair(0, 1, 1.0, _margin(said))], None
    if "text1" in said and "text2" in said:
        preferred = _preference(said, values)
        margin = _margin(said)
        if preferred == TIE and margin:
            raise BadRecord(f"'margin' of a tie must be 0, got {margin:g}")
        order = (1, 0) if preferred == 1 else (0, 1)
        pair = Pair(*order, TIE if preferred == TIE else 1.0, margin)
        return _two(said, "text1", "text2"), [pair], None
    if "responses" in said:
        return _several(said)
    raise Unnamed(f"no fields {FORMS} (it has: {', '.join(map(str, said)) or 'none'})", "chosen", "rejected")


def _two(said: Record, *names: str) -> list[tuple[str, Any]]:
    return [(name, said[name]) for name in names]


def _preference(said: Record, values: Mapping[str, float]) -> float:
    if "preference" not in said:
        raise Unnamed(f"no field 'preference' (it has: {', '.join(map(str, said))})", "preference")
    value = said["preference"]
    label = _label(value)
    try:
        number = values[label] if label in values else float(label)
    except ValueError as error:
        raise UnknownLabel(label) from error
    if number not in (0, TIE, 1):
        raise UnknownLabel(label)
    return number


def _label(value: Any) -> str:
    """A label as settings and tables write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value).strip()


def _several(said: Record) -> tuple[list[tuple[str, Any]], list[Pair], tuple[float, ...] | None]:
    answers = said["responses"]
    if not isinstance(answers, list) or not answers:
        raise BadRecord("'responses' must be a list of answers")
    if "margin" in said:
        raise BadRecord("'margin' is for two answers: several have 'ratings'")
    field = "ratings" if "ratings" in said else "ranking"
    if field not in said:
        raise BadRecord("'responses' need 'ratings' (higher is better) or a 'ranking' (1 is the best)")
    if not isinstance(said[field], list) or len(said[field]) != len(answers):
        raise BadRecord(f"'{field}' must be a list of {len(answers)} numbers, one for each of the responses")
    numbers = tuple(_number(field, value) for value in said[field])
    if field == "ranking" and (min(numbers) != 1 or any(rank != int(rank) for rank in numbers)):
        raise BadRecord("'ranking' must have the rank of each response: 1 for the best, equal ranks for a tie")
    goodness = numbers if field == "ratings" else [-rank for rank in numbers]
    pairs = [_ordered(i, j, goodness) for i, j in combinations(range(len(answers)), 2)]
    named = [(f"responses, item {i}", answer) for i, answer in enumerate(answers, 1)]
    return named, pairs, numbers if field == "ratings" else None


def _ordered(i: int, j: int, goodness: Sequence[float]) -> Pair:
    chosen, rejected = (j, i) if goodness[j] > goodness[i] else (i, j)
    return Pair(chosen, rejected, TIE if goodness[i] == goodness[j] else 1.0)


def _margin(said: Record) -> float:
    margin = _number("margin", said.get("margin"), 0.0)
    if margin < 0:
        raise BadRecord(f"'margin' must not be below 0, got {margin:g}: the better answer is the chosen one")
    return margin


def _number(name: str, value: Any, missing: float | None = None) -> float:
    """A number, or the text of one as tables have it."""
    if missing is not None and (value is None or value == ""):
        return missing
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BadRecord(f"'{name}' must be a number, got {value!r}")
    return number


def _name(column: str, value: Any) -> str | None:
    """What a column of names or numbers says; None if that is nothing."""
    if isinstance(value, list | dict):
        raise BadRecord(f"'{column}' must be text or a number, got {type(value).__name__}")
    return None if value is None or not str(value).strip() else str(value)
