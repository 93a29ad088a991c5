"""The pairs whose labels a reward model doubts most."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlnlp.data.judged import Judged
from rlnlp.evaluate.preferences.heldout import Decided
from rlnlp.models.chat import Prompt, conversation_text

SHOWN = 10


def most_likely_mislabelled(pairs: Decided, rows: Sequence[Judged], log_odds: bool) -> list[dict[str, Any]]:
    """The pairs with the highest loss, of those whose preferred answer has the lower score; worst first, at most ten.

    ``probability`` is the model's, that the label is right; None where its scores are no log-odds.
    """
    found = []
    for i in np.argsort(pairs.differences, kind="stable")[:SHOWN]:
        difference = float(pairs.differences[i])
        if difference >= 0:
            break
        row = rows[pairs.row[i]]
        found.append({
            "location": row.location, "annotator": row.annotator, "prompt": prompt_words(row.prompt),
            "chosen": row.texts[pairs.chosen[i]], "rejected": row.texts[pairs.rejected[i]],
            "difference": difference, "probability": 1 / (1 + math.exp(min(-difference, 700))) if log_odds else None,
        })  # fmt: skip
    return found


def prompt_words(prompt: Prompt | None) -> str:
    """A prompt as people read it."""
    return prompt or "" if prompt is None or isinstance(prompt, str) else conversation_text(prompt)
