import math

import numpy as np
import pytest

from rlnlp.maths.agreement import agreement_by_gap


def rng(seed=0):
    return np.random.default_rng(seed)


def test_agreement_is_counted_in_groups_of_equal_size_with_ties_half():
    gaps = np.array([[0.1, -0.2], [0.3, -0.4], [0.0, 5.0]])  # the pair with no gap is left out
    judged = np.array([[1.0, 2.0], [0.0, -3.0], [9.0, 1.0]])  # right, wrong, tie, right, -, right
    (near, far) = agreement_by_gap(gaps, judged, 2, rng())
    assert (near.pairs, far.pairs) == (3, 2)
    assert (near.gap, far.gap) == pytest.approx((0.2, 2.7)), "as many pairs in each, however wide"
    assert (near.agreement, far.agreement) == pytest.approx((0.5, 1))
    (whole,) = agreement_by_gap(gaps, judged, 1, rng())
    assert (whole.pairs, whole.agreement) == (5, pytest.approx(0.7))


def test_a_judge_that_the_score_predicts_agrees_more_the_wider_the_gap():
    draw = rng(1)
    gaps = draw.normal(size=(200, 6))
    judged = np.where(draw.random(gaps.shape) < 1 / (1 + np.exp(-2 * gaps)), 1.0, -1.0)
    found = agreement_by_gap(gaps, judged, 5, rng(2))
    assert [each.agreement for each in found] == sorted(each.agreement for each in found)
    for each in found:
        assert each.interval[0] < 1 / (1 + math.exp(-2 * each.gap)) < each.interval[1]
    unrelated = agreement_by_gap(gaps, draw.normal(size=gaps.shape), 5, rng(3))
    assert sum(each.interval[0] < 0.5 < each.interval[1] for each in unrelated) >= 4


def test_its_interval_is_of_prompts_and_not_of_pairs():
    one = rng(1).choice([-1.0, 1.0], size=(60, 1))
    gaps = np.ones((60, 8))
    (by_prompt,) = agreement_by_gap(gaps, np.repeat(one, 8, 1), 1, rng(2))
    (few,) = agreement_by_gap(gaps[:, :1], one, 1, rng(2))
    assert by_prompt.interval == pytest.approx(few.interval), "eight equal pairs tell no more than one"


def test_where_nothing_is_parted_or_the_gaps_are_few_there_are_fewer_groups():
    assert agreement_by_gap(np.zeros((3, 2)), np.ones((3, 2)), 5, rng()) == []
    two = agreement_by_gap(np.array([[1.0, 2.0]] * 30), np.ones((30, 2)), 5, rng())
    unanimous = (pytest.approx(0.025 ** (1 / 30)), 1)  # of 30 prompts, all agreeing
    assert [(each.gap, each.agreement, each.interval) for each in two] == [(1, 1, unanimous), (2, 1, unanimous)]
    (single,) = agreement_by_gap(np.array([[1.0]]), np.array([[-1.0]]), 3, rng())
    assert (single.agreement, single.interval) == (0, (0, 1)), "one prompt tells nothing of its spread"


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="shapes differ"):
        agreement_by_gap(np.zeros((3, 2)), np.zeros((3, 1)), 5, rng())
    with pytest.raises(ValueError, match="at least one group"):
        agreement_by_gap(np.zeros((3, 2)), np.zeros((3, 2)), 0, rng())
