"""How much a judgement counts by the round that it is of."""

import numpy as np
import pytest

from rlnlp.feedback.recency import recency_weights


def test_the_weights_of_judgements_by_hand():
    # decay .5, present round 3: .25, .5, 1, 1; their mean is 2.75 / 4
    expected = np.array([0.25, 0.5, 1, 1]) / (2.75 / 4)
    assert recency_weights([1, 2, 3, 3], 0.5) == pytest.approx(expected)
    assert recency_weights([3, 1, 3, 2], 0.5) == pytest.approx(expected[[2, 0, 3, 1]])


def test_with_decay_1_all_judgements_weigh_1_and_with_0_the_newest_round_alone():
    assert recency_weights([1, 1, 4], 1.0) == pytest.approx([1, 1, 1])
    assert recency_weights([1, 4, 4, 1], 0.0) == pytest.approx([0, 2, 2, 0])


def test_which_round_is_the_present_one_does_not_matter_nor_how_long_ago_it_all_was():
    assert recency_weights([1, 2], 0.5) == pytest.approx(recency_weights([7001, 7002], 0.5))
    later = np.array([0.9 ** (9 - r) for r in (1, 4, 6)])  # nobody judged since round 6
    assert recency_weights([1, 4, 6], 0.9) == pytest.approx(later / later.mean())


@pytest.mark.parametrize(("rounds", "decay"), [([], 0.5), ([1], 1.01), ([1], -0.1), ([1], float("nan"))])
def test_weights_of_nothing_and_of_no_decay_are_refused(rounds, decay):
    with pytest.raises(ValueError):
        recency_weights(rounds, decay)
