import math

import numpy as np
import pytest
import scipy.optimize
from scipy.special import expit as sigmoid

from rlnlp.maths.calibration import (
    best_temperature,
    confidence_and_right,
    expected_calibration_error,
    reliability,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def tempered(temperature):
    """A model whose probabilities are right at this temperature."""
    return lambda x: sigmoid(x / temperature)


def noisy(x):
    """One of ten labels is drawn at random."""
    return 0.05 + 0.9 * sigmoid(x)


def drawn(pairs, chance, seed, pairs_per_prompt=1):
    """Differences of scores, labels whose probability is ``chance`` of them, and prompts."""
    draw = rng(seed)
    differences = 1.5 * draw.normal(size=pairs)
    labels = (draw.random(pairs) < chance(differences)).astype(float)
    return differences, labels, np.arange(pairs) // pairs_per_prompt


def true_error(chance):
    """The mean of |chance of being right - confidence|, by integration over the differences."""
    size = np.linspace(0, 15, 200_001)
    density = np.exp(-np.square(size / 1.5) / 2)
    return np.sum(np.abs(chance(size) - sigmoid(size)) * density) / density.sum()


FAST = {"too sure": tempered(2), "right": tempered(1)}
SLOW = {"far too sure": tempered(4), "timid": tempered(0.5), "noisy": noisy}
ALL = pytest.mark.parametrize(
    "chance", [*FAST.values(), *(pytest.param(each, marks=pytest.mark.slow) for each in SLOW.values())], ids=FAST | SLOW
)


@ALL
def test_at_10000_pairs_the_error_is_within_2_hundredths_of_the_true_one(chance):
    error, (low, high) = expected_calibration_error(*drawn(10_000, chance, 1), rng())
    assert abs(error - true_error(chance)) < 0.015
    assert low <= true_error(chance) <= high
    assert high - low < 0.05


@ALL
def test_at_400_pairs_the_interval_holds_the_true_error(chance):
    held, errors = 0, []
    for seed in range(20):
        error, (low, high) = expected_calibration_error(*drawn(400, chance, seed), rng(seed))
        held += low <= true_error(chance) <= high
        assert low <= error <= high
        assert high - low < 0.15
        errors.append(error)
    assert held >= 18
    assert abs(np.mean(errors) - true_error(chance)) < 0.04


def test_what_chance_adds_is_taken_off():
    # 2 bins of 50, with gaps of .1 and 0: an absolute normal of mean 0 has the mean sqrt(2 / pi) deviations
    low, high = math.log(0.6 / 0.4), math.log(0.9 / 0.1)
    differences = np.repeat([low, high], 50)
    labels = np.concatenate([np.arange(50) < 25, np.arange(50) < 45]).astype(float)
    error, _ = expected_calibration_error(differences, labels, np.arange(100), rng())
    of_first = math.sqrt(0.25 / 50 * 100 / 99)
    z = 0.1 / of_first
    mean = 0.1 * math.erf(z / math.sqrt(2)) + of_first * math.sqrt(2 / math.pi) * math.exp(-z * z / 2)
    of_second = math.sqrt(2 / math.pi) * math.sqrt(0.09 / 50 * 100 / 99)
    assert error == pytest.approx((2 * 0.1 - mean - of_second) / 2, rel=1e-9)


def test_pairs_of_one_prompt_that_agree_count_as_fewer():
    differences, labels, prompts = drawn(400, tempered(1), 4)
    alone = expected_calibration_error(differences, labels, prompts, rng())
    four_times = np.repeat(prompts, 4)
    copied = expected_calibration_error(np.repeat(differences, 4), np.repeat(labels, 4), four_times, rng())
    naive = expected_calibration_error(np.repeat(differences, 4), np.repeat(labels, 4), np.arange(1600), rng())
    assert copied[1][1] - copied[1][0] > 0.8 * (alone[1][1] - alone[1][0])
    assert naive[1][1] - naive[1][0] < 0.8 * (copied[1][1] - copied[1][0])


def test_neither_the_order_nor_the_side_of_the_pairs_matters():
    differences, labels, prompts = drawn(400, tempered(2), 5, 2)
    differences = differences.round(1)
    error, _ = expected_calibration_error(differences, labels, prompts, rng())
    mixed = rng(1).permutation(400)
    assert expected_calibration_error(differences[mixed], labels[mixed], prompts[mixed], rng())[0] == pytest.approx(
        error
    )
    turned = rng(2).choice([-1.0, 1.0], 400)
    other = expected_calibration_error(turned * differences, 0.5 + turned * (labels - 0.5), prompts, rng())
    assert other[0] == pytest.approx(error)
    assert other[1] == pytest.approx(expected_calibration_error(differences, labels, prompts, rng())[1])


def test_of_one_prompt_nothing_is_known_and_of_few_the_interval_is_wide():
    differences, labels, _ = drawn(60, tempered(2), 6)
    assert expected_calibration_error(differences, labels, np.zeros(60), rng())[1] == (0.0, 1.0)
    few = expected_calibration_error(differences, labels, np.arange(60) % 3, rng())[1]
    many = expected_calibration_error(differences, labels, np.arange(60), rng())[1]
    assert few[1] <= 1
    assert many[1] - many[0] < 0.3


def test_confidence_is_that_in_the_side_with_the_higher_score():
    two = math.log(2)
    confidence, right = confidence_and_right(np.array([two, two, -two, -two, 0, two]), np.array([1.0, 0, 1, 0, 1, 0.5]))
    assert confidence == pytest.approx([2 / 3] * 4 + [0.5, 2 / 3])
    assert right == pytest.approx([1, 0, 0, 1, 0.5, 0.5])


def test_the_points_of_reliability_are_bins_of_equal_mass_with_what_is_right_in_them():
    differences, labels, prompts = drawn(2000, tempered(2), 7)
    points = reliability(differences, labels, prompts, rng())
    assert [p.pairs for p in points] == [pytest.approx(2000 / 15, abs=1)] * 15
    assert np.all(np.diff([p.confidence for p in points]) > 0)
    confidence, right = confidence_and_right(differences, labels)
    assert sum(p.accuracy * p.pairs for p in points) == pytest.approx(right.sum())
    assert sum(p.confidence * p.pairs for p in points) == pytest.approx(confidence.sum())
    held = 0
    for p in points:
        expected = tempered(2)(math.log(p.confidence / (1 - p.confidence)))
        held += p.interval[0] - 0.01 <= expected <= p.interval[1] + 0.01
        assert 0 <= p.interval[0] <= p.accuracy <= p.interval[1] <= 1
    assert held >= 12


def test_equal_confidences_are_one_point():
    points = reliability(np.full(300, 1.0), np.ones(300), np.arange(300), rng())
    assert [(p.pairs, p.accuracy) for p in points] == [(300, 1)]
    assert points[0].confidence == pytest.approx(sigmoid(1.0))
    assert points[0].interval == (pytest.approx(0.025 ** (1 / 300)), 1)


@pytest.mark.parametrize("temperature", [0.3, 1, 2.5])
@pytest.mark.parametrize("scale", [1e-3, 1, 1e4])
def test_the_temperature_is_the_likeliest_to_8_digits(temperature, scale):
    differences, labels, _ = drawn(500, tempered(temperature), 8)
    labels[:20] = 0.5

    def slope(inverse):
        return np.sum(differences * (labels - sigmoid(differences * inverse)))

    want = 1 / scipy.optimize.bisect(slope, 1e-3, 1e3, xtol=1e-15, rtol=1e-15, maxiter=500)
    assert best_temperature(scale * differences, labels) == pytest.approx(scale * want, rel=1e-8)


def test_the_temperature_by_hand():
    # three of four are right by log 3: they are as sure as they should be; by 2 log 3: twice as sure
    labels = np.array([1.0, 1, 1, 0])
    assert best_temperature(np.full(4, math.log(3)), labels) == pytest.approx(1, rel=1e-10)
    assert best_temperature(np.full(4, -2 * math.log(3)), 1 - labels) == pytest.approx(2, rel=1e-10)


def test_the_temperature_mends_a_model_that_is_too_sure():
    differences, labels, prompts = drawn(2000, tempered(3), 9)
    mended = differences / best_temperature(differences, labels)
    assert expected_calibration_error(differences, labels, prompts, rng())[0] > 0.1
    error, (low, _) = expected_calibration_error(mended, labels, prompts, rng())
    assert error < 0.03
    assert low == 0


def test_a_model_that_is_always_right_has_temperature_0_and_one_that_is_no_better_than_a_coin_none():
    differences = np.array([1.0, -2, 3])
    assert best_temperature(differences, np.array([1.0, 0, 1])) == 0
    assert best_temperature(np.array([1.0, 0]), np.array([1.0, 0])) == 0, "equal scores say nothing"
    assert best_temperature(differences, np.array([0.0, 1, 0])) == math.inf
    assert best_temperature(differences, np.full(3, 0.5)) == math.inf
    assert best_temperature(np.zeros(3), np.array([1.0, 0, 1])) == math.inf


ONE = np.ones(3)
WRONG = {
    "other labels": lambda: confidence_and_right(ONE, ONE[:2]),
    "labels of signs": lambda: best_temperature(ONE, -ONE),
    "labels above 1": lambda: best_temperature(ONE, 2 * ONE),
    "nothing": lambda: best_temperature(ONE[:0], ONE[:0]),
    "an infinite score": lambda: best_temperature(np.inf * ONE, ONE),
    "other prompts": lambda: reliability(ONE, ONE, ONE[:2], rng()),
    "other prompts of the error": lambda: expected_calibration_error(ONE, ONE, ONE[:2], rng()),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(ValueError, match=r"\w"):
        wrong()
