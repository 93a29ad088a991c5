import math

import numpy as np
import pytest
import scipy.optimize

from rlnlp.maths import win_rates
from rlnlp.maths.win_rates import (
    equal_length_win_rates,
    length_controlled_win_rate,
    pairs_of_all,
    pairs_of_different_draws,
    why_no_length_control,
    win_rate_interval,
    wins_of_all_pairs,
    wins_of_different_draws,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def slow_wins(before, after, same_too):
    """One prompt after another, one pair after another."""
    rates = []
    for old, new in zip(before, after, strict=True):
        pairs = [(a, b) for i, a in enumerate(old) for j, b in enumerate(new) if same_too or i != j]
        rates.append(sum(1.0 if b > a else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs))
    return rates


def test_wins_are_counted_over_all_pairs_of_different_draws_by_prompt():
    before, after = rng(1).normal(size=(7, 4)).round(0), rng(2).normal(size=(7, 4)).round(0)
    assert (before == after).any(), "the example needs ties of one stream, which must not count"
    got = wins_of_different_draws(before, after)
    assert got == pytest.approx(slow_wins(before, after, same_too=False), abs=1e-12)
    assert got != pytest.approx(slow_wins(before, after, same_too=True), abs=1e-3)


def test_wins_over_all_pairs_may_have_other_numbers_of_samples():
    before, after = rng(1).normal(size=(6, 3)).round(0), rng(2).normal(size=(6, 5)).round(0)
    assert wins_of_all_pairs(before, after) == pytest.approx(slow_wins(before, after, same_too=True), abs=1e-12)


def test_a_policy_that_repeats_itself_wins_half_of_the_different_draws():
    x = rng(1).normal(size=(50, 4))
    assert wins_of_different_draws(x, x) == pytest.approx(np.full(50, 0.5))


def test_both_directions_of_a_comparison_add_up_to_1():
    before, after = rng(1).normal(size=(2, 9, 3)).round(1)
    assert wins_of_different_draws(before, after) + wins_of_different_draws(after, before) == pytest.approx(np.ones(9))


def test_the_interval_of_a_win_rate_stays_within_0_and_1():
    assert win_rate_interval(np.array([1.0, 1, 1, 1, 0.5]), rng())[1] == 1
    assert win_rate_interval(np.array([0.0, 0, 0, 0, 0.5]), rng())[0] == 0


def slow_fit(scores, lengths):
    """sigmoid(theta) by a general minimizer, over single pairs."""
    y, d = (np.sign(scores.ravel()) + 1) / 2, lengths.ravel()
    x = np.tanh(d / d.std())

    def loss(at):
        z = at[0] + at[1] * x
        return (np.logaddexp(0, z) - y * z).sum() + win_rates.RIDGE / 2 * at[1] ** 2

    def slope(at):
        error = 1 / (1 + np.exp(-(at[0] + at[1] * x))) - y
        return np.array([error.sum(), (error * x).sum() + win_rates.RIDGE * at[1]])

    found = scipy.optimize.minimize(loss, [0, 0], jac=slope, method="BFGS", options={"gtol": 1e-7})
    return 1 / (1 + math.exp(-found.x[0]))


def example(seed, prompts=30, pairs=6, effect=1.0, theta=0.5):
    """Pairs whose outcome depends on length, by a stated amount, and on the prompt."""
    draw = rng(seed)
    lengths = draw.integers(-12, 16, size=(prompts, pairs)).astype(float)
    z = theta + effect * np.tanh(lengths / lengths.std()) + 0.5 * draw.normal(size=(prompts, 1))
    return (draw.random(lengths.shape) < 1 / (1 + np.exp(-z))) * 2.0 - 1, lengths


@pytest.mark.parametrize("effect", [0, 1, -3, 50])
def test_the_controlled_win_rate_is_the_fit_of_a_general_minimizer(effect):
    scores, lengths = example(1, effect=effect)
    scores[::7, 0] = 0  # ties
    found, (low, high) = length_controlled_win_rate(scores, lengths, rng())
    assert found == pytest.approx(slow_fit(scores, lengths), abs=1e-6)
    assert low < found < high


@pytest.mark.parametrize(
    ("lengths", "counts", "wins"),
    [
        ([0.22, -1.14, -0.14], [9, 6, 321], [9, 2, 321]),
        ([-9.4, 2.21, 23.39, -0.32], [103, 986, 11, 14], [0, 0, 11, 4]),
        ([-9.89, 24.53, 10.72, -0.7], [2, 85, 59, 492], [1, 0, 0, 0]),
    ],
)
def test_it_is_found_where_a_full_newton_step_would_run_away(lengths, counts, wins):
    pairs = [(d, 1.0 if i < w else -1.0) for d, c, w in zip(lengths, counts, wins, strict=True) for i in range(c)]
    every = np.array(pairs)
    found = equal_length_win_rates(np.array(lengths), np.array([counts]) * 1.0, np.array([wins]) * 1.0)
    assert found == pytest.approx([slow_fit(every[:, 1], every[:, 0])], abs=1e-6)


def test_it_is_refitted_in_each_resample_by_prompt():
    scores, lengths = example(2, prompts=40)
    _, (low, high) = length_controlled_win_rate(scores, lengths, rng(1))
    draw = rng(2)
    found = [slow_fit(scores[rows], lengths[rows]) for rows in draw.integers(0, 40, (400, 40))]
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(found), rel=0.15)
    scattered = scores.reshape(-1, 1), lengths.reshape(-1, 1)
    _, (low_of_pairs, high_of_pairs) = length_controlled_win_rate(*scattered, rng(1))
    assert (high_of_pairs - low_of_pairs) != pytest.approx(high - low, rel=0.02)


def test_what_only_length_brought_is_taken_out():
    scores, lengths = example(3, prompts=300, theta=0.0, effect=3.0)
    lengths = lengths + 3  # the trained policy writes more
    raw = float(((np.sign(scores) + 1) / 2).mean())
    draw = rng(4)
    z = 3 * np.tanh(lengths / lengths.std())
    scores = (draw.random(lengths.shape) < 1 / (1 + np.exp(-z))) * 2.0 - 1
    raw = float(((scores + 1) / 2).mean())
    found, (low, high) = length_controlled_win_rate(scores, lengths, rng())
    assert raw > 0.6
    assert low < 0.5 < high
    assert abs(found - 0.5) < 0.07


def test_below_20_prompts_the_interval_stays_within_0_and_1():
    scores, lengths = example(1, prompts=4, pairs=8, theta=2.5)
    found, (low, high) = length_controlled_win_rate(scores, lengths, rng())
    assert 0 <= low < found < high <= 1


def test_a_resample_in_which_all_outcomes_agree_has_their_win_rate():
    # one prompt of 25 has all losses: a third of the resamples are without it
    lengths = np.tile([5.0, -5.0, 2.0, -3.0], (25, 1))
    scores = np.ones((25, 4))
    scores[0] = -1
    found, (low, high) = length_controlled_win_rate(scores, lengths, rng())
    assert found == pytest.approx(0.96, abs=1e-6)
    assert (low > 0.6, high) == (True, 1)


@pytest.mark.parametrize(
    ("scores", "lengths", "reason"),
    [
        ([1.0] * 40, [1.0, -1] * 20, "all pairs have the same outcome"),
        ([0.0] * 40, [1.0, -1] * 20, "all pairs have the same outcome"),
        ([1.0, -1] * 20, [1.0] * 37 + [-1] * 3, "before is the longer one in fewer than 10 %"),
        ([1.0, -1] * 20, [-1.0] * 37 + [1] * 3, "after is the longer one in fewer than 10 %"),
        ([1.0, -1] * 20, [0.0] * 40, "after is the longer one in fewer than 10 %"),
    ],
)
def test_what_cannot_be_told_is_not_shown_and_the_reason_is_given(scores, lengths, reason):
    scores, lengths = np.reshape(scores, (20, 2)), np.reshape(lengths, (20, 2))
    assert length_controlled_win_rate(scores, lengths, rng()) is None
    assert reason in why_no_length_control(scores, lengths)


def test_ten_percent_of_longer_responses_on_either_side_are_enough():
    scores, lengths = np.array([1.0, -1] * 20).reshape(20, 2), np.array([1.0] * 36 + [-1] * 4).reshape(20, 2)
    assert why_no_length_control(scores, lengths) == ""
    assert length_controlled_win_rate(scores, lengths, rng()) is not None


def test_shapes_that_do_not_fit_are_refused():
    for wrong in ((np.zeros((3, 1)), np.zeros((3, 1))), (np.zeros((3, 2)), np.zeros((3, 4)))):
        with pytest.raises(ValueError, match="two or more samples"):
            pairs_of_different_draws(*wrong)
    with pytest.raises(ValueError, match="same prompts"):
        pairs_of_all(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="shapes differ"):
        length_controlled_win_rate(np.zeros((3, 2)), np.zeros((3, 1)), rng())
