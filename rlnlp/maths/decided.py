"""How often one policy's response is preferred to another's, of the pairs that are decided and with ties as halves."""

from dataclasses import dataclass

import numpy as np

from rlnlp.maths.accuracy import Estimate
from rlnlp.maths.resampling import Values, check_values, fraction_interval_by_prompt
from rlnlp.maths.win_rates import outcomes


@dataclass(frozen=True)
class WinRates:
    """Fractions of pairs, each with its 95 % confidence interval by prompt and the number of pairs that it is of.

    ``decided``: of the pairs that are no ties, those that were won; None if there are only ties. ``ties_half``: of all
    pairs those that were won, ties as halves. ``fraction_decided``: of all pairs those that are no ties.
    """

    decided: Estimate | None
    ties_half: Estimate
    fraction_decided: Estimate


def win_rates(differences: Values, tie_width: float, rng: np.random.Generator) -> WinRates:
    """How often the later policy wins, by a judge to whom a difference of at most ``tie_width`` is a tie.

    ``differences`` (P, K) are the later policy's scores less the earlier one's in K pairs of each prompt, as of
    ``pairs_of_different_draws`` or ``pairs_of_all``; pairs of several runs with the same prompts go side by side. A
    prompt without a decided pair has no part in the rate of those.

    Raises:
        ValueError: ``differences`` is no matrix, is empty or is not finite, or ``tie_width`` is negative.
    """
    if differences.ndim != 2:
        raise ValueError(f"differences need the shape (prompts, pairs), got {differences.shape}")
    check_values(differences.reshape(-1))
    if not tie_width >= 0:
        raise ValueError(f"a difference of at most tie_width is a tie: it must not be below 0, got {tie_width}")
    ties = np.abs(differences) <= tie_width
    results = outcomes(np.where(ties, 0.0, differences))
    every = np.full(len(differences), float(differences.shape[1]))
    count = (~ties).sum(1).astype(np.float64)
    return WinRates(
        _estimate((results == 1).sum(1).astype(np.float64)[count > 0], count[count > 0], rng) if count.any() else None,
        _estimate(results.sum(1), every, rng),
        _estimate(count, every, rng),
    )


def _estimate(total: Values, count: Values, rng: np.random.Generator) -> Estimate:
    interval = fraction_interval_by_prompt(total, count, rng)
    return Estimate(float(total.sum() / count.sum()), interval, int(count.sum()))
