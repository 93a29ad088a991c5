"""Do intervals hold the truth as often as they say, on data with the pattern of real scores?"""

import numpy as np
import pytest

from rlnlp.maths.resampling import mean_interval_by_prompt, sign_flip_p_value
from rlnlp.maths.win_rates import win_rate_interval, wins_of_all_pairs

PROMPTS, SAMPLES = 50, 5


def population(prompts=100_000):
    """Differences (P, S) with ties and skewed scores; of their variance, rounded, .3 is between prompts."""
    draw = np.random.default_rng(11)
    of_prompt = draw.gamma(1.5, 1, (prompts, 1)) / np.sqrt(1.5)
    of_sample = draw.gamma(1.0, 1, (2, prompts, SAMPLES)) / np.sqrt(2)
    difference = 0.1 * (np.sqrt(0.325) * of_prompt + np.sqrt(0.675) * (of_sample[1] - of_sample[0]))
    return difference.round(1)


def intra_class_correlation(x):
    """ICC(1) by analysis of variance."""
    between = x.shape[1] * x.mean(1).var(ddof=1)
    within = x.var(1, ddof=1).mean()
    return (between - within) / (between + (x.shape[1] - 1) * within)


@pytest.mark.slow
def test_of_2000_intervals_by_prompt_92_to_97_percent_hold_the_truth_and_of_those_by_sample_too_few():
    everything = population()
    truth = everything.mean()
    assert intra_class_correlation(everything) == pytest.approx(0.3, abs=0.02)
    assert len(np.unique(everything)) < 30, "ties"
    draw = np.random.default_rng(12)
    by_prompt, by_sample = [], []
    for i in range(2000):
        x = everything[draw.integers(0, len(everything), PROMPTS)]
        low, high = mean_interval_by_prompt(x.mean(1), draw)
        by_prompt.append(low <= truth <= high)
        if i % 10 == 0:
            low, high = mean_interval_by_prompt(x.reshape(-1), draw)
            by_sample.append(low <= truth <= high)
    assert 0.92 <= np.mean(by_prompt) <= 0.97
    assert np.mean(by_sample) < 0.87, "samples of one prompt are not independent"


def test_a_policy_that_did_not_change_shows_no_difference():
    draw = np.random.default_rng(13)
    center = draw.normal(size=(PROMPTS, 1))
    pool = np.round(np.exp(0.5 * (center + draw.normal(size=(PROMPTS, 60)))), 1)
    held, sure, even = 0, 0, 0
    for _ in range(100):
        drawn = np.take_along_axis(pool, draw.integers(0, 60, (PROMPTS, 2 * SAMPLES)), 1)
        before, after = drawn[:, :SAMPLES], drawn[:, SAMPLES:]
        x = (after - before).mean(1)
        low, high = mean_interval_by_prompt(x, draw)
        held += low <= 0 <= high
        sure += sign_flip_p_value(x, draw) < 0.05
        low, high = win_rate_interval(wins_of_all_pairs(before, after), draw)
        even += low <= 0.5 <= high
    assert 88 <= held <= 100
    assert sure <= 12
    assert 88 <= even <= 100


def test_a_difference_of_2_8_standard_errors_is_found_four_times_of_five():
    everything = population(20_000)
    centered = everything - everything.mean()
    planted = 2.8 * centered.mean(1).std() / np.sqrt(PROMPTS)
    draw = np.random.default_rng(14)
    found = 0
    for sign in [1, -1] * 50:  # skewed values are found more easily on one side than on the other
        x = sign * planted + centered[draw.integers(0, len(centered), PROMPTS)].mean(1)
        low, high = mean_interval_by_prompt(x, draw)
        found += low > 0 if sign > 0 else high < 0
    assert 70 <= found <= 90
