"""Judged pairs with the scores of a model, by hand or drawn."""

import numpy as np

from rlnlp.data.judged import Judged, Pair
from rlnlp.evaluate.preferences import HeldoutScores


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
