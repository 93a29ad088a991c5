"""Judged pairs with the scores of a model, by hand or drawn."""

import numpy as np

from rlnlp.data.judged import Judged, Pair
from rlnlp.evaluate.preferences import CurvePoint, HeldoutScores, preference_record


def row(prompt, answers, *pairs, **more):
    """Answers to a prompt, and pairs as (chosen, rejected, target, margin)."""
    known = {"ratings": None, "weight": 1.0, "annotator": None, "group": None, "location": "pairs.jsonl, line 1"}
    return Judged(prompt, tuple(answers), tuple(Pair(*pair) for pair in pairs), **(known | more))


def pairs(differences, lengths=None, per_prompt=1, first=None, **more):
    """Pairs whose preferred answer scores so much more than the other, and is so many tokens longer.

    ``first`` is True where it stands first; ``more`` has a value of each pair for fields of its row.
    """
    count = len(differences)
    lengths = [0] * count if lengths is None else lengths
    first = [True] * count if first is None else first
    rows, raw, sizes = [], [], []
    for i, (difference, longer, stands_first) in enumerate(zip(differences, lengths, first, strict=True)):
        order = (0, 1) if stands_first else (1, 0)
        base = 50
        texts = ["", ""]
        texts[order[0]], texts[order[1]] = "x" * (base + int(longer)), "y" * base
        own = {name: values[i] for name, values in more.items()}
        own.setdefault("location", f"pairs.jsonl, line {i + 1}")
        margin = own.pop("margin", 0.0)
        rows.append(row(f"prompt {i // per_prompt}", texts, (*order, 1.0, margin), **own))
        scores, size = np.zeros(2), [base, base]
        scores[order[0]], size[order[0]] = difference, base + int(longer)
        raw.append(scores)
        sizes.append(size)
    return HeldoutScores(rows, [i // per_prompt for i in range(count)], raw, sizes)


def whole(hostile="", count=120, **more):
    """The record of a report in which everything is told; ``hostile`` is part of every text that a user wrote."""
    draw = np.random.default_rng(1)
    differences, longer = draw.normal(0.8, 1.5, count), draw.integers(-20, 21, count)
    names = [f"ann {hostile}", f"bob {hostile}"]
    rows = pairs(np.repeat(differences, 2), np.repeat(longer, 2), 2, list(np.repeat(draw.random(count) < 0.6, 2)),
                 margin=[1.0, 2.0] * count, annotator=names * count)  # fmt: skip
    rows = HeldoutScores([_marked(each, hostile) for each in rows.rows], rows.units, rows.raw, rows.lengths)
    weaker = [HeldoutScores(rows.rows, rows.units, [x * _sign(i, k) for i, x in enumerate(rows.raw)], rows.lengths)
              for k in (3, 4, 6)]  # fmt: skip
    curve = [CurvePoint(50 * 2**i, 25 * 2**i, each) for i, each in enumerate(weaker)]
    train = [row(f"trained on {i}", ["x", "yy"], (i % 2, 1 - i % 2)) for i in range(200)]
    found = {"shuffled": weaker[0], "curve": curve} | more
    record = preference_record(rows, train, np.random.default_rng(0), **found)
    record["settings"] = {f"data {hostile}": f"pairs.jsonl {hostile}"}
    record["command"] = f"rlnlp evaluate outputs/reward-model/a-run {hostile}"
    return record


def _sign(i, k):
    return -1 if i // 2 % k == 0 else 1


def _marked(each, hostile):
    answers = tuple(f"{text[:20]} {len(text)} {hostile}" for text in each.answers)
    place = f"{each.location} {hostile}"
    return Judged(f"{each.prompt} {hostile}", answers, each.pairs, None, 1.0, each.annotator, None, place)
