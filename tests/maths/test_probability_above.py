"""How often one sample is above another: counted pair by pair, and with an interval that covers."""

import math

import numpy as np
import pytest

from rlnlp.maths.probability_above import probability_above


def counted(x, y):
    """The estimate, one pair after the other."""
    return sum((a > b) + (a == b) / 2 for a in x for b in y) / (len(x) * len(y))


def distance(p, value, m, n):
    """How many standard errors ``value`` is from p, by the formula of Newcombe's method 5 as it is printed."""
    star = (m + n) / 2 - 1
    variance = p * (1 - p) / (m * n) * (1 + star * (1 - p) / (2 - p) + star * p / (1 + p))
    return abs(value - p) / math.sqrt(variance)


def test_pairs_are_counted_and_equal_numbers_are_half():
    found = probability_above(np.array([3.0, 1.0, 2.0]), np.array([2.0, 0.0]))
    assert (found.value, found.pairs) == (4.5 / 6, 6)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 13).astype(float), rng.integers(0, 4, 9).astype(float)
    assert probability_above(x, y).value == pytest.approx(counted(x, y), abs=1e-12)


@pytest.mark.parametrize(("above", "m", "n"), [(1.0, 12, 7), (0.0, 5, 30), (-1.0, 9, 9)])
def test_the_ends_of_the_interval_are_as_far_as_chance_reaches_by_the_printed_formula(above, m, n):
    rng = np.random.default_rng(1)
    x, y = rng.normal(above, 1, m), rng.normal(0, 1, n)
    found = probability_above(x, y)
    low, high = found.interval
    assert 0 < low < found.value < high < 1
    for end in (low, high):
        assert distance(end, found.value, m, n) == pytest.approx(1.959964, abs=1e-5)


def test_samples_that_do_not_overlap_have_an_interval_with_a_width():
    x, y = np.array([5.0, 6.0, 7.0, 8.0]), np.array([1.0, 2.0, 3.0])
    found, turned = probability_above(x, y), probability_above(y, x)
    assert (found.value, found.interval[1], turned.value, turned.interval[0]) == (1, 1, 0, 0)
    assert distance(found.interval[0], 1, 4, 3) == pytest.approx(1.959964, abs=1e-5)
    assert turned.interval[1] == pytest.approx(1 - found.interval[0], abs=1e-12)


def test_the_interval_covers_the_true_probability_as_often_as_it_says():
    rng, true = np.random.default_rng(2), 0.9
    shift = math.sqrt(2) * 1.2815515655446004  # of normal samples, the probability above is Phi(shift / sqrt 2)
    covered = 0
    for _ in range(400):
        low, high = probability_above(rng.normal(shift, 1, 40), rng.normal(0, 1, 25)).interval
        covered += low <= true <= high
    assert 0.91 <= covered / 400 <= 0.995


@pytest.mark.parametrize(("x", "y"), [([], [1.0]), ([1.0], []), ([math.nan], [1.0]), ([[1.0]], [1.0])])
def test_what_is_no_sample_is_refused(x, y):
    with pytest.raises(ValueError):
        probability_above(np.array(x), np.array(y))
