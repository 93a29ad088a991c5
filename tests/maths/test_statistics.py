import math

import pytest
import torch
from hypothesis import assume, given

from rlnlp.maths.statistics import explained_variance, mean_interval, student_t
from support import reference
from support.generated import MANY, cases, tensors

TABLE = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 9: 2.2622, 29: 2.0452, 63: 1.9983, 1000: 1.9623}


@pytest.mark.parametrize("freedom", TABLE)
def test_student_t_at_95_percent_matches_the_printed_table(freedom):
    allowed = 1.5e-3 if freedom == 3 else 4e-4
    assert student_t(0.975, freedom) == pytest.approx(TABLE[freedom], rel=allowed)


@pytest.mark.parametrize(("p", "freedom"), [(0.975, 4), (0.95, 7), (0.9, 3), (0.995, 30), (0.975, 99)])
def test_student_t_matches_the_integral_of_the_density(p, freedom):
    assert student_t(p, freedom) == pytest.approx(reference.student_t(p, freedom), rel=4e-4)


@pytest.mark.parametrize("p", [0.6, 0.9, 0.975, 0.995])
@pytest.mark.parametrize("freedom", [1, 2])
def test_student_t_is_exact_for_one_and_two_degrees(p, freedom):
    assert student_t(p, freedom) == pytest.approx(reference.student_t(p, freedom), rel=1e-8)


def test_the_median_of_student_t_is_0():
    assert [student_t(0.5, n) for n in (1, 2, 3, 50)] == pytest.approx([0, 0, 0, 0], abs=1e-12)


def test_mean_interval_by_hand():
    # standard deviation of the sample sqrt(10 / 4) over sqrt(5), times 2.7764 for four degrees
    mean, low, high = mean_interval(torch.tensor([1.0, 2, 3, 4, 5]))
    half = 2.7764 * math.sqrt(2.5) / math.sqrt(5)
    assert (mean, low, high) == pytest.approx((3.0, 3 - half, 3 + half), abs=4e-4 * half)


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
