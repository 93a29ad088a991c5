"""Agreement of annotators against worked examples that were published, and against slow definitions."""

import itertools
import math

import numpy as np
import pytest

from rlnlp.maths.reliability import (
    cohen_interval,
    cohen_kappa,
    coincidences,
    confusion,
    fleiss_interval,
    fleiss_kappa,
    krippendorff_alpha,
    krippendorff_interval,
    wilson_interval,
)

FLEISS = [  # fourteen raters, ten items, five answers: the example of many textbooks, kappa = .210
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip
FOUR = [  # Krippendorff 2011, section C: four observers, twelve units, answers missing; alpha = .743
    [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
    [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
]  # fmt: skip
TWO = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]  # section A: two observers, alpha = .095


def counts_of(labels, answers, missing=None):
    return np.array(
        [[sum(row[i] == a for row in labels) for a in answers if a != missing] for i in range(len(labels[0]))], float
    )


def slow_alpha(labels, missing):
    """By all pairs of answers: within items, weighted by 1 / (m - 1); and among all that can be paired."""
    units = [[a for a in unit if a != missing] for unit in zip(*labels, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    every = [a for unit in units for a in unit]
    within = sum(sum(a != b for a, b in itertools.permutations(u, 2)) / (len(u) - 1) for u in units) / len(every)
    among = sum(a != b for a, b in itertools.permutations(every, 2)) / (len(every) * (len(every) - 1))
    return 1 - within / among


def test_cohens_kappa_of_published_tables():
    assert cohen_kappa(np.array([[20.0, 5.0], [10.0, 15.0]])) == pytest.approx(0.4)
    # Cohen 1960: proportions of three categories, p_o = .70, p_e = .41
    table = np.array([[0.44, 0.07, 0.09], [0.05, 0.20, 0.05], [0.01, 0.03, 0.06]])
    assert cohen_kappa(table) == pytest.approx((0.70 - 0.41) / 0.59)
    assert round(float(cohen_kappa(table)), 3) == 0.492


def test_cohens_kappa_is_1_for_the_same_answers_0_for_independent_ones_and_has_no_value_without_variation():
    assert cohen_kappa(np.diag([3.0, 2.0, 5.0])) == 1
    assert cohen_kappa(np.outer([3.0, 2.0, 5.0], [1.0, 1.0, 2.0])) == pytest.approx(0)
    assert math.isnan(cohen_kappa(np.array([[7.0, 0.0], [0.0, 0.0]])))
    many = np.array([np.diag([1.0, 1.0]), [[0.0, 1.0], [1.0, 0.0]]])
    assert cohen_kappa(many).tolist() == [1.0, -1.0]
    first, second = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 2, 0])
    assert confusion(first, second, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_fleiss_kappa_of_the_example():
    assert round(fleiss_kappa(np.array(FLEISS, float)), 3) == 0.210
    assert fleiss_kappa(np.array([[2.0, 0.0], [0.0, 2.0]])) == 1
    assert math.isnan(fleiss_kappa(np.array([[2.0, 0.0], [2.0, 0.0]])))
    for wrong in ([[2.0, 0.0], [1.0, 0.0]], [[1.0, 0.0]], np.zeros((0, 2))):
        with pytest.raises(ValueError, match="same number"):
            fleiss_kappa(np.array(wrong))


def test_krippendorffs_alpha_of_the_examples_and_by_its_definition():
    four, two = counts_of(FOUR, range(6), 0), counts_of(TWO, range(2))
    assert round(krippendorff_alpha(four), 3) == 0.743
    assert round(krippendorff_alpha(two), 3) == 0.095
    assert krippendorff_alpha(four) == pytest.approx(slow_alpha(FOUR, 0))
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = rng.integers(0, 4, (5, 9)).tolist()
        assert krippendorff_alpha(counts_of(labels, range(4), 0)) == pytest.approx(slow_alpha(labels, 0))
    assert coincidences(four).sum((1, 2)).tolist() == [3, 4, 4, 4, 4, 4, 4, 4, 4, 3, 2, 0]


def test_alpha_has_no_value_where_nothing_can_be_compared():
    assert math.isnan(krippendorff_alpha(np.array([[1.0, 0.0], [0.0, 1.0]])))
    assert math.isnan(krippendorff_alpha(np.array([[2.0, 0.0], [3.0, 0.0]])))
    with pytest.raises(ValueError, match="no prompt"):
        krippendorff_interval(np.array([[1.0, 0.0]]), np.random.default_rng(0))


def test_for_two_annotators_fleiss_and_alpha_differ_by_the_size_of_the_sample_only():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, (2, 30)).tolist()
    counts = counts_of(labels, range(3))
    alpha, kappa, n = krippendorff_alpha(counts), fleiss_kappa(counts), 60
    assert 1 - alpha == pytest.approx((1 - kappa) * (n - 1) / n)


def test_intervals_hold_the_value_are_narrower_with_more_items_and_the_same_each_time():
    rng = np.random.default_rng(2)

    def answers(items):
        truth = rng.integers(0, 3, items)
        return [np.where(rng.random(items) < 0.7, truth, rng.integers(0, 3, items)) for _ in range(3)]

    widths = []
    for items in (40, 400):
        labels = answers(items)
        counts = counts_of([row.tolist() for row in labels], range(3))
        low, high = krippendorff_interval(counts, np.random.default_rng(0))
        assert low < krippendorff_alpha(counts) < high
        assert (low, high) == krippendorff_interval(counts, np.random.default_rng(0))
        fleiss = fleiss_interval(counts, np.random.default_rng(0))
        assert fleiss[0] < fleiss_kappa(counts) < fleiss[1]
        cohen = cohen_interval(labels[0], labels[1], 3, np.random.default_rng(0))
        assert cohen[0] < cohen_kappa(confusion(labels[0], labels[1], 3)) < cohen[1]
        widths.append([high - low, fleiss[1] - fleiss[0], cohen[1] - cohen[0]])
    assert all(0.2 < small / large < 0.5 for large, small in zip(*widths, strict=True)), "about a third"


@pytest.mark.slow
def test_the_intervals_hold_the_true_value_about_as_often_as_they_say():
    rng = np.random.default_rng(3)
    truth = 0.6**2  # of two that keep the true answer with probability .6 and else answer blindly, of many items
    held = []
    for _ in range(200):
        true = rng.integers(0, 2, 60)
        labels = [np.where(rng.random(60) < 0.6, true, rng.integers(0, 2, 60)).tolist() for _ in range(3)]
        low, high = krippendorff_interval(counts_of(labels, range(2)), rng)
        held.append(low <= truth <= high)
    assert 0.89 <= np.mean(held) <= 0.99


def test_wilsons_interval_of_published_examples():
    for successes, total, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
                                        (1, 29, 0.0061, 0.1718)):  # fmt: skip
        assert wilson_interval(successes, total) == pytest.approx((low, high), abs=6e-5)  # Newcombe 1998, table I
    assert wilson_interval(29, 29)[1] == 1.0
    assert wilson_interval(0, 0) == (0.0, 1.0)
