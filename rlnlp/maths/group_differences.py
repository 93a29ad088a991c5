"""The difference of the means of two groups of runs, by Student's t: paired by seed, or of independent groups."""

from typing import NamedTuple

import numpy as np

from rlnlp.maths.resampling import EQUAL, Interval, Values, check_values


class Difference(NamedTuple):
    """Of two means, with its 95 % confidence interval and the two-sided p-value of no difference."""

    mean: float
    interval: Interval
    p: float


def paired_difference(x: Values, y: Values) -> Difference:
    """The mean of ``x`` less that of ``y``, (n,) each, whose i-th values belong together (Student 1908).

    Raises:
        ValueError: there are fewer than two pairs, or the groups are not of one size, or a value is not finite.
    """
    if x.shape != y.shape or len(x) < 2:
        raise ValueError(f"two or more pairs are needed, got arrays of shapes {x.shape} and {y.shape}")
    check_values(x)
    check_values(y)
    largest = max(np.abs(x).max(), np.abs(y).max())
    return _of_t((x - y).mean(), _error(x - y), len(x) - 1, largest)


def independent_difference(x: Values, y: Values) -> Difference:
    """The mean of ``x`` (n,) less that of ``y`` (k,), whose variances may differ (Welch 1947, equation 28).

    Raises:
        ValueError: a group has fewer than two values, or a value is not finite.
    """
    if min(x.size, y.size) < 2:
        raise ValueError(f"two or more values are needed in each group, got {x.size} and {y.size}")
    check_values(x)
    check_values(y)
    one, other = _error(x) ** 2, _error(y) ** 2
    parts = one**2 / (len(x) - 1) + other**2 / (len(y) - 1)
    freedom = (one + other) ** 2 / parts if parts else len(x) + len(y) - 2.0
    largest = max(np.abs(x).max(), np.abs(y).max())
    return _of_t(x.mean() - y.mean(), np.sqrt(one + other), freedom, largest)


def _error(x: Values) -> float:
    """The standard error of a mean."""
    return float(x.std(ddof=1) / np.sqrt(len(x)))


def _of_t(mean: float, error: float, freedom: float, largest: float) -> Difference:
    """A difference with its standard error, up to rounding of scores as large as ``largest``."""
    from scipy.special import stdtr, stdtrit

    mean = float(mean)
    if error <= EQUAL * largest:
        return Difference(mean, (mean, mean), 1.0 if abs(mean) <= EQUAL * largest else 0.0)
    half = float(stdtrit(freedom, 0.975)) * error
    return Difference(mean, (mean - half, mean + half), 2 * float(stdtr(freedom, -abs(mean) / error)))
