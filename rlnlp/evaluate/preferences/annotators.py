"""How far annotators agree: the ceiling of what a model's accuracy can be on their labels."""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from rlnlp.data.judged import TIE, Judged
from rlnlp.data.units import prompt_key, units_of
from rlnlp.evaluate.preferences.grouped import told
from rlnlp.evaluate.preferences.heldout import Decided, known
from rlnlp.maths.accuracy import preference_accuracy
from rlnlp.maths.resampling import fraction_interval_by_prompt, sums_by_prompt

LEAST = 10  # pairs that several have judged, and pairs of an annotator
SEVERAL = 2  # annotators that training has not seen, at least
MOST = 12  # annotators that are listed
Votes = Mapping[str, str]  # by annotator: the words of the answer that is preferred


def agreement(rows: Sequence[Judged], rng: np.random.Generator) -> tuple[dict[str, Any] | None, str]:
    """How often two annotators prefer the same answer of a pair, over pairs that several have judged; or None, and why.

    Each pair counts the same; ties are left out. Let p be the chance that an annotator prefers the answer that most
    prefer: two agree with p^2 + (1 - p)^2, and the best model is right with p. Over pairs of any p, the accuracy of the
    best model is at least the agreement a, and at most (1 + sqrt(2 a - 1)) / 2 (Jensen): the ``ceiling``.
    """
    votes, units = _votes(rows)
    several = [key for key, each in votes.items() if len(each) > 1]
    if len({name for each in votes.values() for name in each}) < 2:
        return None, "no two annotators are named in the data"
    if len(several) < LEAST:
        return None, f"{len(several)} pairs were judged by several annotators, {LEAST} are needed"
    rates = np.array([_rate(votes[key]) for key in several])
    total, count = sums_by_prompt(np.array([units[key] for key in several]), rates, np.ones(len(rates)))
    rate, ends = float(rates.mean()), known(fraction_interval_by_prompt(total, count, rng), len(total))
    names = {name for key in several for name in votes[key]}
    return {
        "rate": rate, "interval": ends, "pairs": len(several), "annotators": len(names),
        "judgements": sum(len(votes[key]) for key in several),
        "ceiling": [rate, (1 + math.sqrt(max(0.0, 2 * rate - 1))) / 2],
    }, ""  # fmt: skip


def _votes(rows: Sequence[Judged]) -> tuple[dict[Hashable, Votes], dict[Hashable, int]]:
    """The decided votes on each pair, the last of each annotator, and the unit of the pair."""
    votes: dict[Hashable, dict[str, str]] = defaultdict(dict)
    units: dict[Hashable, int] = {}
    for row, unit in zip(rows, units_of(rows), strict=True):
        if row.annotator is None:
            continue
        texts = [" ".join(text.split()) for text in row.texts]
        for pair in row.pairs:
            if pair.target != TIE:
                key = prompt_key(row.prompt), frozenset((texts[pair.chosen], texts[pair.rejected]))
                votes[key][row.annotator] = texts[pair.chosen]
                units[key] = unit
    return dict(votes), units


def _rate(votes: Votes) -> float:
    """The fraction of the pairs of annotators that prefer the same answer."""
    count = len(votes)
    return sum(n * (n - 1) for n in Counter(votes.values()).values()) / (count * (count - 1))


def by_annotator(pairs: Decided, rows: Sequence[Judged], rng: np.random.Generator) -> list[dict[str, Any]]:
    """The accuracy on the labels of each annotator with ten pairs or more, those with the most pairs first."""
    names = np.array([rows[i].annotator or "" for i in pairs.row], dtype=object)
    counts = Counter(name for name in names if name)
    found = []
    for name, count in counts.most_common(MOST):
        if count >= LEAST and len(counts) > 1:
            own = names == name
            accuracy = preference_accuracy(pairs.differences[own], pairs.units[own], rng)
            found.append({"annotator": name, **told(accuracy, len(np.unique(pairs.units[own])))})
    return found


def unseen_annotators(
    pairs: Decided, rows: Sequence[Judged], train: Sequence[Judged], rng: np.random.Generator
) -> tuple[dict[str, Any] | None, str]:
    """The accuracy on the labels of annotators that no training row is from; or None, and why."""
    seen = {row.annotator for row in train}
    own = np.array([rows[i].annotator is not None and rows[i].annotator not in seen for i in pairs.row], dtype=bool)
    names = {rows[i].annotator for i in pairs.row[own]}
    if len(names) < SEVERAL or own.sum() < LEAST:
        reason = "no held-out pair is from an annotator that training has not seen"
        few = f"only {int(own.sum())} held-out pairs are from annotators that training has not seen ({len(names)})"
        return None, few if own.any() else reason
    accuracy = preference_accuracy(pairs.differences[own], pairs.units[own], rng)
    return {"annotators": len(names), **told(accuracy, len(np.unique(pairs.units[own])))}, ""
