import itertools
import math

import numpy as np
import pytest
import scipy.stats

from rlnlp.maths.seeds import interquartile_mean, probability_of_improvement, seeds_interval, stratified_interval


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_interval_of_three_seeds_by_hand():
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert seeds_interval(np.array([0.5, 0.6, 0.7]), rng()) == pytest.approx((0.6 - half, 0.6 + half), abs=1e-6)
    assert seeds_interval(np.array([0.5]), rng()) == (-math.inf, math.inf)
    assert seeds_interval(np.array([0.5, 0.5]), rng()) == (0.5, 0.5)


def test_the_interquartile_mean_by_hand():
    assert interquartile_mean(np.array([9.0, 1, 2, 100])) == 5.5
    assert interquartile_mean(np.array([1.0, 2, 6])) == 3, "a quarter of three is none"
    assert interquartile_mean(np.array([[0.0, 1], [2, 50]])) == 1.5, "over runs and tasks together"


@pytest.mark.parametrize("n", [1, 2, 5, 8, 10, 11, 23])
def test_the_interquartile_mean_is_the_trimmed_mean(n):
    x = rng(n).normal(size=n)
    assert interquartile_mean(x) == pytest.approx(scipy.stats.trim_mean(x, 0.25), abs=1e-12)


def slow_stratified_interval(x, seed, resamples=6_000):
    """Agarwal et al. 2021, section 4: the runs of each task are drawn with replacement, apart from the others'."""
    draw, found = rng(seed), []
    for _ in range(resamples):
        drawn = [x[draw.integers(0, len(x), len(x)), task] for task in range(x.shape[1])]
        ranked = np.sort(np.concatenate(drawn))
        cut = math.floor(0.25 * len(ranked))
        found.append(sum(ranked[cut : len(ranked) - cut]) / (len(ranked) - 2 * cut))
    return np.percentile(found, [2.5, 97.5])


def test_the_stratified_interval_is_that_of_the_papers_formula():
    x = rng(1).normal(size=(10, 3)) + np.array([0, 5, 10])
    want = slow_stratified_interval(x, 2)
    width = want[1] - want[0]
    assert stratified_interval(x, rng(3)) == pytest.approx(tuple(want), abs=0.05 * width)
    low, high = stratified_interval(x[:, 0], rng(4))
    assert (low, high) == pytest.approx(tuple(slow_stratified_interval(x[:, :1], 5)), abs=0.05 * (high - low))


def test_tasks_are_strata():
    x = np.array([[0.0, 10.0, 100.0, 1000.0]] * 10)
    assert stratified_interval(x, rng()) == (55, 55), "each task keeps its ten runs, which are equal"


def slow_probability(x, y):
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(x, y)) / (len(x) * len(y))


def test_the_probability_of_improvement_is_the_papers_formula_with_ties_half():
    x, y = rng(1).normal(0.5, 1, size=11).round(1), rng(2).normal(size=8).round(1)
    assert set(x) & set(y), "the example needs ties"
    found, (low, high) = probability_of_improvement(x, y, rng(3))
    assert found == pytest.approx(slow_probability(x, y), abs=1e-12)
    draw = rng(4)
    drawn = [slow_probability(draw.choice(x, len(x)), draw.choice(y, len(y))) for _ in range(3000)]
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.03)
    u = scipy.stats.mannwhitneyu(x, y).statistic / (len(x) * len(y))
    assert found == pytest.approx(u, abs=1e-12)


def test_a_group_that_always_wins_has_probability_1():
    assert probability_of_improvement(np.array([2.0, 3]), np.array([0.0, 1, 1]), rng()) == (1, (1, 1))


def test_no_values_are_refused():
    for function in (interquartile_mean, lambda x: stratified_interval(x, rng()), lambda x: seeds_interval(x, rng())):
        with pytest.raises(ValueError, match=r"no values|one value"):
            function(np.zeros(0))
    with pytest.raises(ValueError, match="not finite"):
        probability_of_improvement(np.array([1.0]), np.array([math.nan]), rng())
