"""Calibration of a reward model's probabilities: how far off they are, and the temperature that would mend them."""

import math
from typing import Any

import numpy as np

from rlnlp.evaluate.preferences.heldout import Decided, known
from rlnlp.maths.calibration import best_temperature, expected_calibration_error, reliability
from rlnlp.maths.resampling import Values

LEAST = 20  # pairs; of fewer, chance alone makes most of the error
FOLDS = 5  # the temperature of each is fitted to the others
ALWAYS_RIGHT = "it is right on every pair, so that no temperature is the best"
NEVER = "its probabilities tell no more than a coin's, at any temperature"


def calibration(pairs: Decided, rng: np.random.Generator) -> dict[str, Any]:
    """``ece``, its interval, the points of the reliability plot, and the temperature, of at least 20 pairs."""
    units, right = pairs.unit_count, np.ones(len(pairs.differences))
    error, ends = expected_calibration_error(pairs.differences, right, pairs.units, rng)
    points = reliability(pairs.differences, right, pairs.units, rng)
    return {
        "ece": error,
        "ece_interval": known(ends, units),
        "reliability": [
            {
                "confidence": point.confidence, "accuracy": point.accuracy, "n": point.pairs,
                "interval": known(point.interval, units),
            }
            for point in points
        ],
        "temperature": temperature(pairs, rng),
    }  # fmt: skip


def temperature(pairs: Decided, rng: np.random.Generator) -> dict[str, Any]:
    """The best temperature, and the calibration error with it, each prompt's pairs at that of the other prompts.

    ``value`` is of all pairs. What it makes of the error is told crosswise, by folds of prompts: an error on the pairs
    that it was fitted to would be too small. Where nothing can be told, ``reason`` says why.
    """
    nothing = {"value": None, "ece": None, "ece_interval": None, "reason": ""}
    value = best_temperature(pairs.differences, np.ones(len(pairs.differences)))
    if value == 0 or math.isinf(value):
        return {**nothing, "reason": NEVER if value else ALWAYS_RIGHT}
    mended = crosswise(pairs, rng)
    if mended is None:
        return {**nothing, "value": value, "reason": "too few prompts to measure it on others than it is fitted to"}
    error, ends = expected_calibration_error(mended, np.ones(len(mended)), pairs.units, rng)
    return {"value": value, "ece": error, "ece_interval": known(ends, pairs.unit_count), "reason": ""}


def crosswise(pairs: Decided, rng: np.random.Generator) -> Values | None:
    """The differences, each over the best temperature of the other folds; None where one has none above 0."""
    distinct, of_pair = np.unique(pairs.units, return_inverse=True)
    if len(distinct) < 2:
        return None
    fold = rng.permutation(np.arange(len(distinct)) % min(FOLDS, len(distinct)))[of_pair]
    mended = np.zeros(len(of_pair))
    for i in np.unique(fold):
        others, own = pairs.differences[fold != i], fold == i
        value = best_temperature(others, np.ones(len(others)))
        if value == 0:
            return None
        mended[own] = pairs.differences[own] / value
    return mended
