import math

import pytest
import torch
from hypothesis import assume, given

from rlnlp.maths.statistics import explained_variance, mean_interval
from support import reference
from support.generated import MANY, cases, tensors

TABLE = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 9: 2.2622, 29: 2.0452, 63: 1.9983, 1000: 1.9623}


@pytest.mark.parametrize("freedom", TABLE)
def test_the_interval_has_the_printed_quantile_of_student_t(freedom):
    x = torch.linspace(-1, 1, freedom + 1, dtype=torch.float64)
    _, low, high = mean_interval(x)
    assert (high - low) / 2 == pytest.approx(TABLE[freedom] * float(x.std()) / math.sqrt(freedom + 1), rel=3e-5)


@pytest.mark.parametrize(("level", "freedom"), [(0.95, 4), (0.9, 7), (0.8, 3), (0.99, 30), (0.2, 1)])
def test_the_interval_has_the_quantile_of_the_integrated_density(level, freedom):
    x = torch.linspace(-1, 1, freedom + 1, dtype=torch.float64)
    _, low, high = mean_interval(x, level)
    quantile = reference.student_t((1 + level) / 2, freedom)
    assert (high - low) / 2 == pytest.approx(quantile * float(x.std()) / math.sqrt(freedom + 1), rel=1e-8)


def test_mean_interval_by_hand():
    # standard deviation of the sample sqrt(10 / 4) over sqrt(5), times 2.7764 for four degrees
    mean, low, high = mean_interval(torch.tensor([1.0, 2, 3, 4, 5]))
    half = 2.7764 * math.sqrt(2.5) / math.sqrt(5)
    assert (mean, low, high) == pytest.approx((3.0, 3 - half, 3 + half), abs=2e-5 * half)


def test_a_higher_level_gives_a_wider_interval():
    x = torch.tensor([1.0, 2, 4, 8])
    widths = [high - low for _, low, high in (mean_interval(x, level) for level in (0.5, 0.8, 0.95, 0.99))]
    assert widths == sorted(widths)
    assert len(set(widths)) == 4


def test_one_number_tells_nothing_of_its_own_spread():
    assert mean_interval(torch.tensor([3.0])) == (3.0, -math.inf, math.inf)


def test_equal_numbers_have_an_interval_of_no_width():
    assert mean_interval(torch.full((8,), 0.25)) == (0.25, 0.25, 0.25)


def test_the_interval_covers_the_true_mean_as_often_as_it_says():
    x = torch.randn(4000, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inside = sum(low <= 0 <= high for _, low, high in map(mean_interval, x)) / len(x)
    assert abs(inside - 0.95) < 5 * math.sqrt(0.95 * 0.05 / len(x))


@given(cases(2))
@MANY
def test_explained_variance_matches_the_slow_reference_and_reads_nothing_behind_the_mask(case):
    rows, values, returns = case
    mask, v, r = tensors(case)
    assume(reference.variance_over(returns, rows) > 0)
    want = reference.explained_variance(values, returns, rows)
    got = explained_variance(*(x.masked_fill(~mask, math.nan) for x in (v, r)), mask)
    assert got == pytest.approx(want, rel=1e-9, abs=1e-9)


def test_explained_variance_of_a_perfect_critic_of_the_mean_and_of_one_that_is_worse():
    returns, mask = torch.tensor([[1.0, 2.0, 6.0]]), torch.ones(1, 3, dtype=torch.bool)
    assert explained_variance(returns, returns, mask) == 1
    assert explained_variance(returns + 5, returns, mask) == 1, "an offset is no variance"
    assert explained_variance(torch.full((1, 3), 3.0), returns, mask) == 0
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3)


def test_of_equal_returns_there_is_nothing_to_explain():
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert explained_variance(torch.tensor([[1.0, 2, 3, 4]]), torch.full((1, 4), 0.7), mask) == 0
