import itertools
import math

import numpy as np
import pytest

from rlnlp.maths.accuracy import (
    accuracy_by,
    accuracy_gain,
    accuracy_where_shorter_is_preferred,
    length_correlation,
    more_frequent_side,
    preference_accuracy,
)
from rlnlp.maths.resampling import fraction_interval_by_prompt, sums_by_prompt


def rng(seed=0):
    return np.random.default_rng(seed)


def test_accuracy_counts_equal_scores_half():
    # the pairs of the reference case of the Bradley-Terry loss: 2 of 4 right, one tie
    value, (low, high), pairs = preference_accuracy(np.array([1.0, 2, 0, -2]), np.arange(4), rng())
    assert (value, pairs) == (0.625, 4)
    assert 0 <= low < value < high <= 1


def test_the_interval_of_the_accuracy_is_by_prompt():
    draw = rng(1)
    of_prompt = draw.normal(size=100)
    differences = np.repeat(of_prompt, 10) + 0.1
    by_prompt = preference_accuracy(differences, np.repeat(np.arange(100), 10), rng())
    by_pair = preference_accuracy(differences, np.arange(1000), rng())
    alone = preference_accuracy(of_prompt + 0.1, np.arange(100), rng())
    assert by_prompt.value == by_pair.value == alone.value
    assert by_prompt.interval == pytest.approx(alone.interval)
    assert by_pair.interval[1] - by_pair.interval[0] < 0.5 * (alone.interval[1] - alone.interval[0])


def test_intervals_of_the_accuracy_hold_the_truth():
    held = 0
    for seed in range(30):
        draw = rng(seed)
        prompts = draw.integers(0, 120, 200)  # some have one pair, some have many
        chance = np.where(draw.random(120) < 0.5, 0.5, 0.8)[prompts]
        differences = np.where(draw.random(200) < chance, 1.0, -1.0)
        low, high = preference_accuracy(differences, prompts, draw).interval
        held += low <= 0.65 <= high
    assert held >= 25


@pytest.mark.parametrize(("prompts", "low"), [(2, 0.1581), (10, 0.6915), (300, 0.9878)])
def test_an_accuracy_of_100_percent_is_not_sure(prompts, low):
    # Clopper and Pearson: all of n right. 10: .6915 in their tables
    right = preference_accuracy(np.ones(3 * prompts), np.repeat(np.arange(prompts), 3), rng())
    assert right == (1, (pytest.approx(low, abs=1e-4), 1), 3 * prompts)
    wrong = preference_accuracy(-np.ones(prompts), np.arange(prompts), rng())
    assert wrong == (0, (0, pytest.approx(1 - low, abs=1e-4)), prompts)


def test_one_prompt_tells_nothing_of_its_spread():
    assert preference_accuracy(np.ones(3), np.zeros(3), rng()).interval == (0, 1)
    assert preference_accuracy(np.array([1.0, -1, 1]), np.zeros(3), rng()).interval == (0, 1)


def test_a_gain_over_a_rule_is_of_the_same_pairs():
    draw = rng(2)
    lengths = draw.normal(size=600) + 0.3
    differences = np.where(draw.random(600) < 0.1, 1.0, lengths)  # longer wins, but for a tenth that it gets right
    prompts = np.arange(600) // 2
    value, (low, high), pairs = accuracy_gain(differences, lengths, prompts, rng())
    one, other = (preference_accuracy(x, prompts, rng()) for x in (differences, lengths))
    assert pairs == 600
    assert value == pytest.approx(one.value - other.value)
    assert 0 < low < value < high
    assert high - low < 0.5 * (one.interval[1] - one.interval[0])
    back = accuracy_gain(lengths, differences, prompts, rng())
    assert back.value == pytest.approx(-value)
    assert accuracy_gain(lengths, 2 * lengths, prompts, rng())[:2] == (0, (0, 0))


def test_longer_wins_and_the_more_frequent_side_are_judged_like_a_score():
    lengths = np.array([3.0, -2, 0, 8])
    assert preference_accuracy(lengths, np.arange(4), rng()).value == 0.625
    first = np.array([1.0, 0, 1, 1])
    side = more_frequent_side(first)
    assert side == 1
    assert preference_accuracy(side * (2 * first - 1), np.arange(4), rng()).value == 0.75
    assert more_frequent_side(np.array([1.0, 0, 0])) == -1
    assert more_frequent_side(np.array([1.0, 0, 0.5])) == 0


def test_accuracy_by_a_value_is_that_of_groups_of_one_size():
    values = rng(3).permutation(np.arange(200.0))
    differences = np.where(values < 50, 0.0, np.where(values < 150, 1.0, -1.0))
    groups = accuracy_by(values, differences, np.arange(200), 4, rng())
    assert [(g.low, g.high, g.accuracy.value, g.accuracy.pairs) for g in groups] == [
        (0, 49, 0.5, 50),
        (50, 99, 1, 50),
        (100, 149, 1, 50),
        (150, 199, 0, 50),
    ]
    whole = preference_accuracy(differences, np.arange(200), rng())
    assert sum(g.accuracy.value * g.accuracy.pairs for g in groups) == pytest.approx(200 * whole.value)


def test_equal_values_are_one_group_and_few_pairs_make_few_groups():
    values = np.repeat([1.0, 2.0], [70, 30])
    groups = accuracy_by(values, values, np.arange(100), 5, rng())
    assert [(g.low, g.high, g.accuracy.pairs) for g in groups] == [(1, 1, 70), (2, 2, 30)]
    assert len(accuracy_by(np.arange(25.0), np.arange(25.0), np.arange(25), 5, rng())) == 2
    assert len(accuracy_by(np.arange(3.0), np.arange(3.0), np.arange(3), 5, rng())) == 1


def test_a_score_that_is_length_has_correlation_1_and_is_never_right_where_the_shorter_one_is():
    lengths = rng(4).normal(size=200) + 0.5
    prompts = np.arange(200)
    assert length_correlation(3 * lengths, lengths, prompts, rng()) == (pytest.approx(1), (pytest.approx(1),) * 2, 200)
    shorter = accuracy_where_shorter_is_preferred(3 * lengths, lengths, prompts, rng())
    assert (shorter.value, shorter.pairs) == (0, int((lengths < 0).sum()))
    assert accuracy_where_shorter_is_preferred(-lengths, lengths, prompts, rng()).value == 1
    assert length_correlation(-lengths, lengths, prompts, rng()).value == pytest.approx(-1)


def test_the_correlation_with_length_is_pearsons_of_the_pairs_both_ways_round():
    draw = rng(5)
    lengths = draw.normal(size=300) + 1  # people prefer the longer one
    differences = 0.6 * lengths + draw.normal(size=300)
    value, (low, high), _ = length_correlation(differences, lengths, np.arange(300), rng())
    both = np.corrcoef(np.concatenate([differences, -differences]), np.concatenate([lengths, -lengths]))[0, 1]
    assert value == pytest.approx(both, rel=1e-12)
    assert low < value < high
    turned = draw.choice([-1.0, 1.0], 300)
    again = length_correlation(1e3 * turned * differences, turned * lengths, np.arange(300), rng())
    assert again.value == pytest.approx(value, rel=1e-12)


def test_for_the_responses_of_a_prompt_it_is_the_correlation_within_prompts():
    draw = rng(6)
    scores, sizes = draw.normal(size=(2, 40, 4))
    scores = scores + 0.5 * sizes
    a, b = np.array(list(itertools.combinations(range(4), 2))).T
    differences, lengths = (scores[:, a] - scores[:, b]).reshape(-1), (sizes[:, a] - sizes[:, b]).reshape(-1)
    within = [(x - x.mean(1, keepdims=True)).reshape(-1) for x in (scores, sizes)]
    got = length_correlation(differences, lengths, np.repeat(np.arange(40), 6), rng())
    assert got.value == pytest.approx(np.corrcoef(*within)[0, 1], rel=1e-12)


def test_a_score_that_has_nothing_to_do_with_length_has_no_correlation():
    held = 0
    for seed in range(15):
        draw = rng(seed)
        low, high = length_correlation(draw.normal(size=200), draw.normal(size=200), np.arange(200), draw).interval
        held += low <= 0 <= high
    assert held >= 12


def test_without_a_spread_of_scores_or_lengths_there_is_no_correlation():
    some, none = np.array([1.0, -1, 2]), np.zeros(3)
    assert length_correlation(none, some, np.arange(3), rng()) is None
    assert length_correlation(some, none, np.arange(3), rng()) is None
    assert accuracy_where_shorter_is_preferred(some, np.ones(3), np.arange(3), rng()) is None


def test_sums_by_prompt_take_any_names_of_prompts():
    names = np.array(["b", "a", "b", "c"])
    assert [x.tolist() for x in sums_by_prompt(names, np.array([1.0, 2, 4, 8]), np.ones(4))] == [[2, 5, 8], [1, 2, 1]]


ONE = np.ones(3)
WRONG = {
    "nothing": lambda: preference_accuracy(ONE[:0], ONE[:0], rng()),
    "no number": lambda: preference_accuracy(math.nan * ONE, ONE, rng()),
    "other prompts": lambda: preference_accuracy(ONE, ONE[:2], rng()),
    "another baseline": lambda: accuracy_gain(ONE, ONE[:2], ONE, rng()),
    "other lengths": lambda: length_correlation(ONE, ONE[:2], ONE, rng()),
    "other prompts of lengths": lambda: accuracy_where_shorter_is_preferred(ONE, -ONE, ONE[:2], rng()),
    "other values": lambda: accuracy_by(ONE[:2], ONE, ONE, 2, rng()),
    "no group": lambda: accuracy_by(ONE, ONE, ONE, 0, rng()),
    "a prompt without pairs": lambda: fraction_interval_by_prompt(0 * ONE, np.array([1.0, 0, 1]), rng()),
    "other counts": lambda: fraction_interval_by_prompt(0 * ONE, ONE[:2], rng()),
    "no label": lambda: more_frequent_side(ONE[:0]),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(ValueError, match=r"\w"):
        wrong()
