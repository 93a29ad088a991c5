"""Differences of two groups against scipy's tests, against hand numbers, and where there is nothing to test."""

import numpy as np
import pytest
from scipy import stats

from rlnlp.maths.group_differences import independent_difference, paired_difference
from rlnlp.rng import stream

X = np.array([1.0, 2.0, 4.0])
Y = np.array([0.0, 2.0, 1.0])


def test_paired_by_hand_and_as_scipy_has_it():
    found = paired_difference(X, Y)  # differences 1, 0, 3: mean 4/3, variance 7/3, t = 4/3 / sqrt(7/9)
    assert found.mean == pytest.approx(4 / 3)
    half = 4.302652729749464 * np.sqrt(7 / 9)
    assert found.interval == pytest.approx((4 / 3 - half, 4 / 3 + half))
    assert found.p == pytest.approx(stats.ttest_rel(X, Y).pvalue, rel=1e-12)


@pytest.mark.parametrize(("n", "k"), [(2, 2), (3, 5), (12, 7)])
def test_independent_groups_as_scipy_s_welch_test_has_them(n, k):
    rng = stream(0, "groups", n, k)
    x, y = rng.normal(1, 1, n), rng.normal(0, 3, k)
    found, theirs = independent_difference(x, y), stats.ttest_ind(x, y, equal_var=False)
    interval = theirs.confidence_interval()
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-10)
    assert found.interval == pytest.approx((interval.low, interval.high), rel=1e-10)
    assert found.mean == pytest.approx(x.mean() - y.mean())


@pytest.mark.parametrize("differ", [paired_difference, independent_difference])
def test_without_any_spread_the_interval_is_the_point_and_only_equal_groups_are_equal(differ):
    one, half = np.ones(3, np.float32).astype(float), np.full(3, 0.5)
    assert differ(one, half) == (0.5, (0.5, 0.5), 0.0)
    assert differ(one, one) == (0.0, (0.0, 0.0), 1.0)
    rounding = one + np.array([0, 1e-9, -1e-9])
    assert differ(rounding, one).p == 1.0


@pytest.mark.parametrize("differ", [paired_difference, independent_difference])
def test_one_value_or_a_value_that_is_not_finite_is_refused(differ):
    for x, y in ((X[:1], Y[:1]), (X, np.array([0, 1, np.nan]))):
        with pytest.raises(ValueError):
            differ(x, y)
    with pytest.raises(ValueError):
        paired_difference(X, Y[:2])
