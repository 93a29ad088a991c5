"""Explained variance and confidence intervals."""

import math
from statistics import NormalDist

from torch import Tensor

from rlnlp.maths.masked import equal, masked_variance


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(R - V) / Var(R) over the True positions: 1 for a perfect critic, 0 for one that only predicts the mean.

    All (B, T). Where the returns are all equal there is nothing to explain: 0.

    Raises:
        ValueError: no position is True, or the shapes differ.
    """
    residual, total = masked_variance(returns - values, mask), masked_variance(returns, mask)
    return 0.0 if equal(returns, mask) else float(1 - residual / total)


def mean_interval(x: Tensor, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of ``x`` (n,) and the two ends of its Student-t confidence interval; both ends infinite for n < 2."""
    n, mean = len(x), float(x.double().mean())
    if n < 2:
        return mean, -math.inf, math.inf
    half = student_t((1 + level) / 2, n - 1) * float(x.double().std()) / math.sqrt(n)
    return mean, mean - half, mean + half


def student_t(p: float, freedom: int) -> float:
    """Quantile of Student's t, 0.5 <= p < 1.

    Exact for 1 and 2 degrees of freedom; beyond, the expansion of Abramowitz and Stegun (1964) 26.7.5, whose error
    at p = .975 is 0.12 % for 3 degrees and below 0.04 % from 4 on.
    """
    if freedom == 1:
        return math.tan(math.pi * (p - 0.5))
    if freedom == 2:
        return (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    z = NormalDist().inv_cdf(p)
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    g4 = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + g1 / freedom + g2 / freedom**2 + g3 / freedom**3 + g4 / freedom**4
