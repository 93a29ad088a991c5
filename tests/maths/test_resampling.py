import itertools
import math

import numpy as np
import pytest
import scipy.stats

from rlnlp.maths import resampling
from rlnlp.maths.resampling import (
    bootstrap_interval,
    few_prompts_notes,
    holm,
    mean_interval_by_prompt,
    sign_flip_p_value,
    smallest_p_value,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def slow_bca(x, seed, resamples=40_000):
    """Efron and Tibshirani 1993, equations 14.9 to 14.15, line by line, with other resamples."""
    draw, n, normal = rng(seed), len(x), scipy.stats.norm
    observed = x.mean()
    means = np.sort([x[draw.integers(0, n, n)].mean() for _ in range(resamples)])
    z0 = normal.ppf(((means < observed).mean() + (means <= observed).mean()) / 2)
    without = np.array([np.delete(x, i).mean() for i in range(n)])
    from_mean = without.mean() - without
    a = (from_mean**3).sum() / (6 * (from_mean**2).sum() ** 1.5)
    ends = [normal.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in normal.ppf([0.025, 0.975])]
    return np.quantile(means, ends)


def test_the_interval_is_that_of_the_bca_formulas_and_not_of_plain_percentiles():
    x = np.exp(rng(1).normal(size=40))
    low, high = mean_interval_by_prompt(x, rng(2))
    want = slow_bca(x, seed=3)
    width = want[1] - want[0]
    assert (low, high) == pytest.approx(want, abs=0.03 * width)
    plain = scipy.stats.bootstrap((x,), np.mean, method="percentile", rng=rng(4)).confidence_interval
    assert high - plain.high > 0.06 * width, "of skewed values the two differ by more than the resamples do"


def test_the_interval_comes_from_the_stream_that_is_passed_in():
    x = rng(5).normal(size=30)
    assert mean_interval_by_prompt(x, rng(6)) == mean_interval_by_prompt(x, rng(6))
    assert mean_interval_by_prompt(x, rng(6)) != mean_interval_by_prompt(x, rng(7))


def test_equal_values_have_the_interval_of_a_point():
    assert mean_interval_by_prompt(np.full(30, 0.25), rng()) == (0.25, 0.25)
    assert mean_interval_by_prompt(np.zeros(3), rng()) == (0, 0)
    start = np.linspace(0, 0.1, 30, dtype=np.float32)
    rounded = (start + np.float32(0.1)) - start
    assert len(set(rounded)) > 1
    low, high = mean_interval_by_prompt(rounded.astype(np.float64), rng())
    assert low == high == pytest.approx(0.1, abs=1e-6)


def test_below_20_prompts_it_is_students_t_over_prompts():
    low, high = mean_interval_by_prompt(np.array([1.0, 2, 3, 4, 5]), rng())
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert (low, high) == pytest.approx((3 - half, 3 + half), abs=1e-6)
    x = rng(1).normal(size=20) ** 2
    t = scipy.stats.t.interval(0.95, 18, x[:19].mean(), scipy.stats.sem(x[:19]))
    assert mean_interval_by_prompt(x[:19], rng()) == pytest.approx(t, rel=1e-9)
    t = scipy.stats.t.interval(0.95, 19, x.mean(), scipy.stats.sem(x))
    assert mean_interval_by_prompt(x, rng()) != pytest.approx(t, rel=1e-3)


def test_one_prompt_tells_nothing_of_its_own_spread():
    assert mean_interval_by_prompt(np.array([3.0]), rng()) == (-math.inf, math.inf)


def test_any_statistic_is_computed_anew_for_each_resample():
    x, y = rng(1).normal(size=(2, 60))

    def ratio(rows):
        return x[rows].std(1) / y[rows].std(1)

    def ratio_of_pairs(a, b, axis):
        return a.std(axis) / b.std(axis)

    want = scipy.stats.bootstrap((x, y), ratio_of_pairs, paired=True, method="BCa", rng=rng(2), n_resamples=9_999)
    assert bootstrap_interval(ratio, 60, rng(3)) == pytest.approx(tuple(want.confidence_interval), abs=0.02)


def test_below_20_prompts_the_statistics_error_is_that_of_the_jackknife():
    x = rng(1).normal(size=12)
    without = [np.log(np.delete(x, i).std()) for i in range(12)]
    error = math.sqrt(11 / 12 * sum((value - np.mean(without)) ** 2 for value in without))
    center, half = np.log(x.std()), scipy.stats.t.ppf(0.975, 11) * error
    got = bootstrap_interval(lambda rows: np.log(x[rows].std(1)), 12, rng())
    assert got == pytest.approx((center - half, center + half), rel=1e-9)


@pytest.mark.parametrize("x", [np.zeros(0), np.zeros((3, 2)), np.array([1.0, math.nan]), np.array([1.0, math.inf])])
def test_what_is_no_list_of_finite_values_is_refused(x):
    for function in (mean_interval_by_prompt, sign_flip_p_value):
        with pytest.raises(ValueError, match=r"one value for each prompt|not finite"):
            function(x, rng())
    with pytest.raises(ValueError, match="no prompt"):
        bootstrap_interval(lambda rows: rows.mean(1), 0, rng())


def slow_p_value(x):
    """Every pattern of signs by hand."""
    reached = [
        abs(sum(s * v for s, v in zip(signs, x, strict=True))) for signs in itertools.product((1, -1), repeat=len(x))
    ]
    return sum(value >= abs(sum(x)) - 1e-9 for value in reached) / len(reached)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 12])
def test_up_to_12_prompts_the_p_value_is_over_all_patterns_of_signs(n):
    x = rng(n).normal(0.4, 1, size=n)
    assert sign_flip_p_value(x, rng()) == slow_p_value(x)


def test_the_p_value_by_hand():
    # of the 8 patterns of 1, 2, 3 only +++ and --- reach 6
    assert sign_flip_p_value(np.array([1.0, 2, 3]), rng()) == 0.25
    # |1 + 2 - 3| = 0 is reached by all
    assert sign_flip_p_value(np.array([1.0, 2, -3]), rng()) == 1


def test_equal_sums_are_equal_however_they_are_rounded():
    x = np.array([0.1, 0.2, 0.3, 0.6, -0.6, 0.7])
    assert abs(x.sum()) != 1.3, "the example needs a sum that rounding parts from another"
    assert sign_flip_p_value(x, rng()) == slow_p_value(x)
    assert sign_flip_p_value(x.astype(np.float32).astype(np.float64), rng()) == slow_p_value(x)


def test_beyond_12_prompts_the_p_value_is_near_the_exact_one_and_counts_the_observed_pattern():
    x = rng(3).normal(0.5, 1, size=16)
    error = math.sqrt(slow_p_value(x) / resampling.RESAMPLES)
    assert sign_flip_p_value(x, rng(4)) == pytest.approx(slow_p_value(x), abs=4 * error)
    assert sign_flip_p_value(np.arange(1.0, 61), rng()) == 1 / 10_000, "never 0"
    assert sign_flip_p_value(np.zeros(40), rng()) == 1


def test_the_p_value_is_uniform_where_nothing_differs():
    p = np.array([sign_flip_p_value(x, rng(i)) for i, x in enumerate(rng(5).standard_t(5, size=(400, 25)))])
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.001
    assert (p <= 0.05).mean() < 0.10


def test_fewer_than_6_prompts_cannot_give_a_p_value_below_5_percent_and_this_is_said():
    for n in range(1, 14):
        assert smallest_p_value(n) <= sign_flip_p_value(np.arange(1.0, n + 1), rng()) * (1 + 1e-12)
        assert (smallest_p_value(n) < 0.05) == (n >= 6)
        assert any("impossible" in note for note in few_prompts_notes(n)) == (n < 6)
    assert [len(few_prompts_notes(n)) for n in (1, 5, 6, 19, 20, 500)] == [2, 2, 1, 1, 0, 0]


def test_holm_by_hand_keeps_the_order_and_never_falls():
    # sorted .01, .02, .03, .04 times 4, 3, 2, 1; the third and fourth rise to what is before them
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.4, 0.6]) == [0.8, 0.8]
    assert holm([0.7, 0.9]) == [1, 1]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
