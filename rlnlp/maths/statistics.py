"""Explained variance and confidence intervals."""

import math

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
    from scipy.special import stdtrit  # not scipy.stats, which takes four times as long to load

    half = float(stdtrit(n - 1, (1 + level) / 2)) * float(x.double().std()) / math.sqrt(n)
    return mean, mean - half, mean + half
