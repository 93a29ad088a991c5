import numpy as np
import pytest

from rlnlp.maths.decided import win_rates
from rlnlp.maths.resampling import fraction_interval_by_prompt
from rlnlp.maths.win_rates import pairs_of_different_draws


def rng(seed=0):
    return np.random.default_rng(seed)


def slow(differences, tie_width):
    """Wins, ties and losses, counted one by one."""
    flat = [float(d) for row in differences for d in row]
    ties = sum(abs(d) <= tie_width for d in flat)
    return sum(d > tie_width for d in flat), ties, sum(d < -tie_width for d in flat)


def test_the_three_rates_by_hand():
    # prompt 1: win, tie (the width itself), loss; prompt 2: win, win, tie. Of 6 pairs 3 won, 1 lost, 2 ties
    found = win_rates(np.array([[0.5, 0.25, -0.5], [1.0, 0.5, 0.0]]), 0.25, rng())
    assert found.decided is not None
    assert (found.decided.value, found.decided.pairs) == (3 / 4, 4)
    assert (found.ties_half.value, found.ties_half.pairs) == (pytest.approx((3 + 1) / 6), 6)
    assert (found.fraction_decided.value, found.fraction_decided.pairs) == (pytest.approx(4 / 6), 6)


@pytest.mark.parametrize("tie_width", [0.0, 0.3])
def test_the_rates_are_those_of_a_count_one_by_one(tie_width):
    x = pairs_of_different_draws(rng(1).normal(size=(25, 4)).round(1), rng(2).normal(0.4, 1, (25, 4)).round(1))
    won, tied, lost = slow(x, tie_width)
    assert tied, "the example needs ties"
    found = win_rates(x, tie_width, rng())
    assert found.decided is not None
    assert found.decided.value == pytest.approx(won / (won + lost))
    assert found.ties_half.value == pytest.approx((won + tied / 2) / (won + tied + lost))
    assert found.fraction_decided.value == pytest.approx((won + lost) / (won + tied + lost))
    for each in (found.decided, found.ties_half, found.fraction_decided):
        assert each.interval[0] < each.value < each.interval[1]


def test_a_prompt_with_ties_only_has_no_part_in_the_rate_of_decided_pairs():
    x = rng(3).normal(0.3, 1, (30, 6))
    with_ties = win_rates(np.concatenate([x, np.zeros((5, 6))]), 0.0, rng())
    without = win_rates(x, 0.0, rng())
    assert with_ties.decided == without.decided
    assert with_ties.ties_half.value < without.ties_half.value


def test_prompts_and_not_pairs_are_drawn_anew():
    x = np.repeat(rng(4).normal(0.2, 1, (30, 1)), 50, axis=1)  # all pairs of a prompt have one outcome
    found, one_each = win_rates(x, 0.0, rng()), win_rates(x[:, :1], 0.0, rng())
    assert found.ties_half.interval == pytest.approx(one_each.ties_half.interval, abs=0.02)


def test_if_all_pairs_are_won_the_interval_is_no_point():
    found = win_rates(np.ones((50, 4)), 0.0, rng())
    expected = fraction_interval_by_prompt(np.full(50, 4.0), np.full(50, 4.0), rng())
    assert found.decided is not None
    assert found.decided.interval == found.ties_half.interval == expected
    assert expected == (pytest.approx(0.9289, abs=1e-4), 1.0)


def test_of_ties_alone_there_is_no_rate_of_decided_pairs():
    found = win_rates(np.full((4, 3), 0.1), 0.1, rng())
    assert (found.decided, found.ties_half.value, found.fraction_decided.value) == (None, 0.5, 0.0)


@pytest.mark.parametrize(
    ("x", "tie_width", "message"),
    [
        (np.ones(4), 0.0, "need the shape"),
        (np.ones((0, 3)), 0.0, "one value"),
        (np.array([[np.nan, 1.0]]), 0.0, "not finite"),
        (np.ones((2, 2)), -0.1, "must not be below 0"),
        (np.ones((2, 2)), np.nan, "must not be below 0"),
    ],
)
def test_what_cannot_be_counted_is_refused(x, tie_width, message):
    with pytest.raises(ValueError, match=message):
        win_rates(x, tie_width, rng())
