"""Accuracy by how sure the judges were, and by length; how much of the score is length."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlnlp.evaluate.preferences.heldout import Decided, known
from rlnlp.maths.accuracy import (
    GROUP,
    Estimate,
    accuracy_by,
    accuracy_where_shorter_is_preferred,
    length_correlation,
)
from rlnlp.maths.resampling import Values

GROUPS = 5
LEAST = 2 * GROUP  # pairs, for two groups
MARGIN, RATINGS, OWN = "margin", "difference of the ratings", "the model's own margin"


def by_margin(pairs: Decided, rng: np.random.Generator) -> dict[str, Any]:
    """The accuracy by the margins of the data, or by the differences of their ratings, or by the model's own margin.

    ``of`` says which. By its own margin it says how far the model can be relied on where it is sure, and nothing of
    how hard a pair is.
    """
    rated = np.isfinite(pairs.rated)
    if (pairs.margins > 0).any():
        return {"of": MARGIN, "groups": groups(pairs.margins, pairs, np.ones(len(rated), dtype=bool), rng)}
    if rated.sum() >= LEAST:
        return {"of": RATINGS, "groups": groups(np.abs(pairs.rated), pairs, rated, rng)}
    return {"of": OWN, "groups": groups(np.abs(pairs.differences), pairs, np.ones(len(rated), dtype=bool), rng)}


def by_length_difference(pairs: Decided, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The accuracy by how many tokens longer the preferred answer is; less than 0 where it is the shorter one."""
    return groups(pairs.lengths, pairs, np.ones(len(pairs.lengths), dtype=bool), rng)


def groups(values: Values, pairs: Decided, chosen: NDArray[np.bool_], rng: np.random.Generator) -> list[dict[str, Any]]:
    """The ``chosen`` pairs in up to five groups of about one size, by rising ``values``."""
    found = accuracy_by(values[chosen], pairs.differences[chosen], pairs.units[chosen], GROUPS, rng)
    return [{"low": group.low, "high": group.high, **told(group.accuracy, pairs.unit_count)} for group in found]


def told(accuracy: Estimate, units: int) -> dict[str, Any]:
    """An accuracy as plain data."""
    return {"accuracy": accuracy.value, "interval": known(accuracy.interval, units), "n": accuracy.pairs}


def length(pairs: Decided, rng: np.random.Generator) -> dict[str, Any]:
    """The correlation of score and length within pairs, and the accuracy where the shorter answer is preferred."""
    units = pairs.unit_count
    whole = length_correlation(pairs.differences, pairs.lengths, pairs.units, rng)
    shorter = accuracy_where_shorter_is_preferred(pairs.differences, pairs.lengths, pairs.units, rng)
    return {
        "correlation": whole and whole.value,
        "interval": whole and known(whole.interval, units),
        "accuracy_shorter_preferred": shorter and shorter.value,
        "accuracy_shorter_preferred_interval": shorter and known(shorter.interval, units),
        "n_shorter_preferred": 0 if shorter is None else shorter.pairs,
        "n": len(pairs.differences),
    }
