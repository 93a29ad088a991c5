"""How often a number of one sample is larger than one of another: P(X > Y) + P(X = Y) / 2.

It is the area under the ROC curve, and the Mann-Whitney statistic over the number of pairs.
"""

import math

import numpy as np
from numpy.typing import NDArray

from rlnlp.maths.accuracy import Estimate
from rlnlp.maths.resampling import check_values

Values = NDArray[np.float64]
Z = 1.959963984540054  # of the standard normal distribution, 2.5 % lie above it
HALVINGS = 60  # of the unit interval: below the precision of float64


def probability_above(x: Values, y: Values) -> Estimate:
    """The estimate from samples x (M,) and y (N,), each of independent numbers; ``pairs`` is M N.

    The 95 % confidence interval is method 5 of Newcombe 2006 ("Confidence intervals for an effect size measure based on
    the Mann-Whitney statistic. Part 2", Statistics in Medicine 25): all probabilities p of which the estimate is at
    most Z standard errors away, with Hanley and McNeil's variance at p and the mean of both sample sizes. It has a
    width where the samples do not overlap, as a bootstrap has not.

    Raises:
        ValueError: a sample is no vector, is empty, or has a number that is not finite.
    """
    check_values(x)
    check_values(y)
    ordered = np.sort(y)
    below, up_to = (np.searchsorted(ordered, x, side) for side in ("left", "right"))
    value = float((below + up_to).sum() / (2 * len(x) * len(y)))
    low = 1 - _upper_end(1 - value, len(x), len(y))
    return Estimate(value, (low, _upper_end(value, len(x), len(y))), len(x) * len(y))


def _upper_end(value: float, m: int, n: int) -> float:
    """The largest p with p - value <= Z standard errors at p. That holds at ``value``, and not above the end."""
    low, high = value, 1.0
    for _ in range(HALVINGS):
        p = (low + high) / 2
        if p - value <= Z * math.sqrt(_variance(p, m, n)):
            low = p
        else:
            high = p
    return high if value < 1 else 1.0


def _variance(p: float, m: int, n: int) -> float:
    """Hanley and McNeil 1982's variance of the estimate of p, with (m + n) / 2 - 1 for m - 1 and n - 1."""
    others = (m + n) / 2 - 1
    return p * (1 - p) * (1 + others * ((1 - p) / (2 - p) + p / (1 + p))) / (m * n)
