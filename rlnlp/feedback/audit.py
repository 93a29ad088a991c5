"""What judgements are worth: agreement, position bias, answers too fast to be read, consistency when asked again.

A plain record (numbers, lists and dicts) that the command prints and that a run can keep. Every fraction comes with its
count and a 95 % interval.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from rlnlp.feedback.pairs import Standing
from rlnlp.feedback.records import BETTER, RATED, SKIPPED, TIE, UNDONE, Annotator, Item, Judgement
from rlnlp.feedback.store import Store
from rlnlp.maths.reliability import (
    cohen_interval,
    cohen_kappa,
    confusion,
    fleiss_interval,
    fleiss_kappa,
    krippendorff_alpha,
    krippendorff_interval,
    wilson_interval,
)
from rlnlp.rng import stream

WORDS_A_MINUTE = 1000  # read silently: 240 are usual, twice that is fast; who answers faster than this has not read
SHORTEST = 0.5  # seconds, however few words there are
ANSWERS = 3  # the first response is better, the second, neither
Record = dict[str, Any]


def audit(store: Store, seed: int = 0) -> Record:
    """The audit of a feedback set. ``seed`` is that of the resamples of the intervals."""
    return audit_of(store.standing(), store.judgements(), store.annotators(), seed)


def audit_of(
    standing: Sequence[Standing], judgements: Sequence[Judgement], annotators: Sequence[Annotator], seed: int
) -> Record:
    """The audit of judgements that count (``standing``) among all ``judgements``, by ``annotators``."""
    names = {one.id: one.name for one in annotators}
    answers = _answers(standing)
    undone = Counter(one.annotator for one in judgements if one.verdict.kind == UNDONE)
    people = []
    for person in annotators:
        own = [(item, one) for item, one in standing if one.annotator == person.id]
        if own or undone[person.id]:
            people.append(_person(person, own, undone[person.id], answers))
    return {
        "judgements": len(standing),
        "comparisons": sum(one.verdict.kind == BETTER for _, one in standing),
        "annotators": people,
        "pairs": _pairs(answers, names, seed),
        "fleiss": _fleiss(answers, seed),
        "krippendorff": _krippendorff(answers, seed),
    }


def fraction(part: int, total: int) -> Record:
    """A fraction with its counts and interval; its value is None if there is nothing."""
    value = part / total if total else None
    return {"value": value, "interval": list(wilson_interval(part, total)), "count": part, "of": total}


def reading_seconds(item: Item) -> float:
    """The seconds below which an answer is too fast: the time to read the responses at ``WORDS_A_MINUTE``."""
    return max(SHORTEST, 60 * sum(len(text.split()) for text in item.texts) / WORDS_A_MINUTE)


def _person(person: Annotator, own: Sequence[Standing], undone: int, answers: Mapping[int, dict[int, int]]) -> Record:
    compared = [(item, one) for item, one in own if one.verdict.kind == BETTER]
    known = [(item, one) for item, one in compared if one.shown_first is not None and one.verdict.preference != TIE]
    left = sum(one.verdict.preference == one.shown_first for _, one in known)
    timed = [(item, one) for item, one in own if one.seconds is not None and one.verdict.kind != SKIPPED]
    fast = sum((one.seconds or 0) < reading_seconds(item) for item, one in timed)
    same, shared = _with_others(person.id, answers)
    ratings = [one.verdict.rating for _, one in own if one.verdict.rating is not None]
    return {
        "name": person.name,
        "kind": person.kind,
        "comparisons": len(compared),
        "ratings": len(ratings),
        "skipped": sum(one.verdict.kind == SKIPPED for _, one in own),
        "undone": undone,
        "ties": fraction(sum(one.verdict.preference == TIE for _, one in compared), len(compared)),
        "first_shown": fraction(left, len(known)),
        "consistent": _consistent(own),
        "too_fast": fraction(fast, len(timed)),
        "seconds": float(np.median([one.seconds for _, one in timed])) if timed else None,
        "agrees": fraction(same, shared),
        "rating": float(np.mean(ratings)) if ratings else None,
    }


def _consistent(own: Sequence[Standing]) -> Record:
    """How often an annotator says the same when asked again; ratings are the same within one step."""
    first = {item.id: one.verdict for item, one in own}
    asked = [(first[item.repeat_of], one.verdict) for item, one in own if item.repeat_of in first]
    asked = [(before, again) for before, again in asked if before.kind == again.kind and again.kind in (BETTER, RATED)]
    same = sum(
        before.preference == again.preference if again.kind == BETTER else
        abs((before.rating or 0) - (again.rating or 0)) <= 1
        for before, again in asked
    )  # fmt: skip
    return fraction(same, len(asked))


def _answers(standing: Sequence[Standing]) -> dict[int, dict[int, int]]:
    """By item and annotator: 0 if the first response of the item was preferred, 1 if the second, 2 for neither.

    A repeat is an item that only one annotator judges: it has no part in the agreement of several.
    """
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for item, one in standing:
        if one.verdict.preference is not None:
            found[item.id][one.annotator] = 2 if one.verdict.preference == TIE else int(one.verdict.preference)
    return found


def _with_others(person: int, answers: Mapping[int, dict[int, int]]) -> tuple[int, int]:
    """How many answers of others to the same items are the same, and how many there are."""
    others = [(given[person], answer) for given in answers.values() if person in given
              for other, answer in given.items() if other != person]  # fmt: skip
    return sum(own == answer for own, answer in others), len(others)


def _pairs(answers: Mapping[int, dict[int, int]], names: Mapping[int, str], seed: int) -> list[Record]:
    """Every two annotators with items in common: how often they agree, and Cohen's kappa."""
    found = []
    for one, two in combinations(sorted({person for given in answers.values() for person in given}), 2):
        shared = [(given[one], given[two]) for given in answers.values() if one in given and two in given]
        if shared:
            first, second = (np.array(column, dtype=np.intp) for column in zip(*shared, strict=True))
            kappa = float(cohen_kappa(confusion(first, second, ANSWERS)))
            interval = cohen_interval(first, second, ANSWERS, stream(seed, f"audit:{names[one]}:{names[two]}"))
            agrees = fraction(sum(a == b for a, b in shared), len(shared))
            found.append({"annotators": [names[one], names[two]], "agrees": agrees, "kappa": _beyond(kappa, interval)})
    return found


def _fleiss(answers: Mapping[int, dict[int, int]], seed: int) -> Record | None:
    """Fleiss' kappa of the items with the number of annotators that most have; None if none has two."""
    numbers = Counter(len(given) for given in answers.values() if len(given) >= 2)
    if not numbers:
        return None
    raters = max(numbers, key=lambda number: (numbers[number], number))
    counts = _counts([given for given in answers.values() if len(given) == raters])
    kappa = _beyond(fleiss_kappa(counts), fleiss_interval(counts, stream(seed, "audit:fleiss")))
    return {**kappa, "items": len(counts), "raters": raters}


def _krippendorff(answers: Mapping[int, dict[int, int]], seed: int) -> Record | None:
    """Krippendorff's alpha of all items that two have judged; None if there is none."""
    several = [given for given in answers.values() if len(given) >= 2]
    if not several:
        return None
    counts = _counts(several)
    alpha = _beyond(krippendorff_alpha(counts), krippendorff_interval(counts, stream(seed, "audit:krippendorff")))
    return {**alpha, "items": len(counts), "judgements": int(counts.sum())}


def _counts(several: Sequence[Mapping[int, int]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.bincount(list(given.values()), minlength=ANSWERS) for given in several], dtype=np.float64)


def _beyond(value: float, interval: tuple[float, float]) -> Record:
    """A kappa or an alpha; None where all is one answer, and infinite bounds, of one item, as none."""
    if math.isnan(value):
        return {"value": None, "interval": None}
    return {"value": value, "interval": list(interval) if all(map(math.isfinite, interval)) else None}
