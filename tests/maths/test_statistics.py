import math

import pytest
import torch

import reference
from rlnlp.maths.statistics import mean_interval, student_t

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
    # deviation of the sample sqrt(10 / 4) over sqrt(5), times 2.7764 for four degrees
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
