import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from rlnlp.maths.overoptimization import turn_over

D = np.linspace(0.3, 3.0, 10)


def rng(seed=0):
    return np.random.default_rng(seed)


def curve(d, alpha, beta):
    """R(d), written out for each point; 0 at 0."""
    return np.array([x * (alpha - beta * math.log(x)) if x > 0 else 0.0 for x in d])


def gains(d, alpha, beta, prompts=40, spread=0.3, noise=0.1, seed=1):
    """Gains (T, P): each prompt has a curve of its own around the common one, and noise at each point."""
    draws = rng(seed)
    own = np.array([curve(d, alpha + spread * draws.normal(), beta + spread * draws.normal()) for _ in range(prompts)])
    return own.T + noise * draws.normal(size=(len(d), prompts))


def exactly(d, alpha, beta, prompts=3):
    return np.repeat(curve(d, alpha, beta)[:, None], prompts, axis=1)


def test_a_curve_without_noise_gives_back_its_numbers_and_a_peak_by_hand():
    # alpha 2, beta 1: d* = e, KL* = e^2 = 7.389, R(d*) = beta d* = e
    found = turn_over(D**2, exactly(D, 2.0, 1.0), rng())
    assert found.curve is not None
    assert found.peak is not None
    assert (found.curve.alpha, found.curve.beta) == pytest.approx((2, 1))
    assert found.curve.alpha_interval == pytest.approx((2, 2))
    assert (found.peak.d, found.peak.kl, found.peak.gain) == pytest.approx((math.e, 7.389056, math.e))
    assert found.peak.kl_interval == pytest.approx((7.389056, 7.389056))
    assert (found.peak.best, D[found.peak.best]) == (8, pytest.approx(2.7)), "of 2.4, 2.7 and 3.0"
    assert (found.curve.points, found.reason, str(found)) == (10, "", "turn-over at KL 7.39")
    assert found.curve.gains(np.array([0.0, 1.0, math.e])) == pytest.approx([0, 2, math.e])


def test_of_the_points_at_the_flat_top_the_one_that_measured_best_is_taken():
    d = np.linspace(0.3, 7.0, 68)  # of alpha 2 and beta 1: R is at least 0.9 e from d = 1.61 to 4.07
    y = exactly(d, 2.0, 1.0)

    def best(**bumps):
        bumped = y.copy()
        for at, by in bumps.items():
            bumped[int(at[1:])] += by
        found = turn_over(d**2, bumped, rng()).peak
        assert found is not None
        assert found.d == pytest.approx(math.e, rel=0.02)
        return found.best

    assert d[[14, 24, 36, 40]] == pytest.approx([1.7, 2.7, 3.9, 4.3])
    assert best() == 24
    assert best(_36=0.3) == 36
    assert best(_14=0.3) == 14
    assert best(_40=0.5, _36=0.3) == 36, "beyond the top a high gain is chance"


def test_where_no_point_is_at_the_top_the_nearest_is_taken():
    d = np.array([0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 5.0])  # e lies between the last two
    found = turn_over(d**2, exactly(d, 2.0, 1.0), rng()).peak
    assert found is not None
    assert found.best == 8


def test_the_fit_has_the_least_squares_that_a_search_finds():
    y = gains(D, 1.0, 0.6)
    found = turn_over(D**2, y, rng()).curve
    assert found is not None
    searched = scipy.optimize.minimize(
        lambda p: np.square(curve(D, *p) - y.mean(1)).sum(), [0, 0], method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-14},
    )  # fmt: skip
    assert (found.alpha, found.beta) == pytest.approx(tuple(searched.x), abs=1e-5)


def test_the_intervals_are_those_of_a_bootstrap_that_fits_anew_to_each_resample_of_prompts():
    y, draws = gains(D, 1.0, 0.6, prompts=60), rng(5)
    found = turn_over(D**2, y, rng()).curve
    assert found is not None
    terms = np.stack([D, -D * np.log(D)], axis=1)
    anew = np.array(
        [np.linalg.lstsq(terms, y[:, draws.integers(0, 60, 60)].mean(1), rcond=None)[0] for _ in range(3000)]
    )
    for mine, theirs in zip((found.alpha_interval, found.beta_interval), anew.T, strict=True):
        low, high = np.quantile(theirs, [0.025, 0.975])
        assert mine == pytest.approx((low, high), abs=0.15 * (high - low))


def test_points_near_the_first_policy_do_not_change_the_fit():
    near = np.array([0.0, 0.1, 0.29])
    kl = np.concatenate([near**2, [-0.02], D**2])  # an estimate of a KL may be negative
    y = np.concatenate([np.full((4, 3), 50.0), exactly(D, 2.0, 1.0)])
    found = turn_over(kl, y, rng())
    assert found.curve is not None
    assert found.peak is not None
    assert (found.curve.alpha, found.curve.beta, found.curve.points) == (pytest.approx(2), pytest.approx(1), 10)
    assert found.peak.best == 12, "the points are numbered as they were given"


def test_beyond_the_point_that_is_back_at_0_a_gain_that_has_a_lowest_value_does_not_move_the_peak():
    d = np.linspace(0.3, 12, 40)  # of alpha 2 and beta 1: e at d = e, 0 at e^2 = 7.39, -5.8 at 12
    y = exactly(d, 2.0, 1.0)
    found = turn_over(d**2, np.where(d[:, None] > 8, -0.5, y), rng())
    assert found.curve is not None
    assert found.peak is not None
    assert (found.curve.points, found.peak.d) == (25, pytest.approx(math.e)), "up to d = 7.5"
    below = turn_over(D**2, exactly(D, 2.0, 1.0) - 10, rng()).curve
    assert below is not None
    assert below.points == 10, "gains that were never above 0 are not back there"


def test_with_too_few_points_before_the_gain_is_back_at_0_there_is_no_curve():
    y = np.where(D[:, None] > 2, -1.0, exactly(D, 2.0, 1.0))  # the seventh is at 2.1
    found = turn_over(D**2, y, rng())
    assert (found.curve, found.reason) == (
        None, "of 8 points with d = sqrt(KL) >= 0.3 and a gain above 0 that are needed there are 7"
    )  # fmt: skip


def test_with_seven_points_that_are_far_enough_there_is_no_curve():
    d = np.concatenate([[0.0, 0.1, 0.2], np.linspace(0.3, 3, 7)])
    found = turn_over(d**2, exactly(d, 2.0, 1.0), rng())
    assert (found.curve, found.peak) == (None, None)
    assert str(found) == "no turn-over seen: of 8 points with d = sqrt(KL) >= 0.3 that are needed there are 7"


def test_of_points_with_one_kl_there_is_no_curve():
    found = turn_over(np.full(9, 4.0), rng().normal(size=(9, 30)), rng())
    assert (found.curve, str(found)) == (None, "no turn-over seen: all points have the same KL")


@pytest.mark.parametrize(
    ("alpha", "beta", "reason"),
    [
        (2.2, 1.0, "the curve still rises at the last KL, 9"),  # d* = e^1.2 = 3.32
        (2e6, 1e-3, "the curve still rises at the last KL, 9"),  # d* is no float64
        (1.0, -0.5, "the 95 % interval of beta, -0.5 to -0.5, is not above 0"),
    ],
)
def test_a_peak_that_the_data_do_not_hold_is_not_named(alpha, beta, reason):
    found = turn_over(D**2, exactly(D, alpha, beta), rng())
    assert found.peak is None
    assert found.curve is not None
    assert str(found) == f"no turn-over seen: {reason}"


def test_a_peak_before_the_first_point_is_not_named():
    d = np.linspace(0.3, 0.7, 10)
    found = turn_over(d**2, exactly(d, -0.3, 1.0), rng())  # d* = e^-1.3 = .27, 0 at .74
    assert found.peak is None
    assert str(found) == "no turn-over seen: the curve falls already at the first KL, 0.09"


def test_a_peak_at_the_last_point_is_named_and_one_just_behind_it_is_not():
    last = math.log(3) + 1  # alpha / beta whose d* = 3
    assert turn_over(D**2, exactly(D, last - 1e-6, 1.0), rng()).peak is not None
    assert turn_over(D**2, exactly(D, last + 1e-6, 1.0), rng()).peak is None


def test_a_bend_that_may_be_chance_is_no_turn_over():
    y = gains(D, 2.0, 1.0, prompts=30, spread=6.0)
    found = turn_over(D**2, y, rng())
    assert found.curve is not None
    low, high = found.curve.beta_interval
    assert low < 0 < high, "the example"
    assert found.peak is None
    assert "is not above 0" in found.reason


def test_one_prompt_shows_no_turn_over():
    found = turn_over(D**2, exactly(D, 2.0, 1.0, prompts=1), rng())
    assert found.peak is None
    assert "-inf to inf" in found.reason


def test_the_interval_of_the_peak_holds_the_ratios_that_a_t_test_over_prompts_does_not_reject():
    y = gains(D, 2.0, 1.0, prompts=25)
    found = turn_over(D**2, y, rng())
    assert found.peak is not None
    own = np.array([scipy.optimize.curve_fit(curve, D, each, [1, 1])[0] for each in y.T])
    kl = np.linspace(4, 14, 2001)
    held = kl[scipy.stats.ttest_1samp(own @ [np.ones(2001), -(1 + np.log(kl) / 2)], 0).pvalue > 0.05]
    assert found.peak.kl_interval == pytest.approx((held[0], held[-1]), abs=0.006)
    assert found.peak.kl_interval[0] < found.peak.kl < found.peak.kl_interval[1]


@pytest.mark.parametrize(
    ("kl", "y", "message"),
    [
        (np.ones(9), np.ones((8, 3)), "need the shape"),
        (np.ones(9), np.ones(9), "need the shape"),
        (np.ones(9), np.ones((9, 0)), "one value"),
        (np.array([]), np.ones((0, 3)), "one value"),
        (np.array([1.0, np.nan]), np.ones((2, 3)), "not finite"),
        (np.ones(2), np.array([[1.0], [np.inf]]), "not finite"),
    ],
)
def test_what_is_no_curve_is_refused(kl, y, message):
    with pytest.raises(ValueError, match=message):
        turn_over(kl, y, rng())


@pytest.mark.slow
def test_of_300_intervals_of_beta_and_of_the_peak_88_to_99_percent_hold_the_truth():
    held, peaks, straight = [], [], 0
    for seed in range(300):
        found = turn_over(D**2, gains(D, 1.6, 1.0, prompts=30, noise=0.5, seed=seed), rng(seed))
        assert found.curve is not None
        held.append(found.curve.beta_interval[0] <= 1 <= found.curve.beta_interval[1])
        assert found.peak is not None
        peaks.append(found.peak.kl_interval[0] <= math.exp(1.2) <= found.peak.kl_interval[1])
        flat = turn_over(D**2, gains(D, 1.0, 0.0, prompts=30, noise=0.5, seed=1000 + seed), rng(seed)).curve
        assert flat is not None
        straight += flat.beta_interval[0] > 0
    assert 0.88 <= np.mean(held) <= 0.99
    assert 0.88 <= np.mean(peaks) <= 0.99
    assert straight <= 18, "8 are expected of curves that are straight"
