"""How much judgements of earlier rounds count: their responses come from policies that are no longer there."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def recency_weights(rounds: Sequence[int], decay: float) -> NDArray[np.float64]:
    """decay^(present round - round) for the round of each of N judgements, scaled to a mean of 1: (N,).

    Which round is the present one cancels. With ``decay`` 1 all count the same, with 0 the newest round alone.

    Raises:
        ValueError: there is no judgement, or ``decay`` is not within 0 and 1.
    """
    if not len(rounds):
        raise ValueError("there is no judgement to weigh")
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be within 0 and 1, got {decay}")
    age = max(rounds) - np.asarray(rounds, dtype=np.float64)
    weights: NDArray[np.float64] = np.power(decay, age)
    scaled: NDArray[np.float64] = weights / weights.mean()
    return scaled
