"""Which pairs are asked about."""

from collections import Counter

import numpy as np
import pytest

from rlnlp.feedback.selection import Candidate, at_random, by_disagreement, candidates

FOUR = candidates([[f"{prompt} {i}" for i in range(4)] for prompt in range(10)])  # 6 pairs each


def test_every_two_different_responses_to_a_prompt_are_a_pair():
    assert candidates([["a", "b ", "b", "c"], ["x"], ["y", "y"], []]) == [(0, 0, 1), (0, 0, 3), (0, 1, 3)]
    assert len(FOUR) == 60


def test_pairs_at_random_are_of_all_prompts_evenly_and_all_pairs_come_up():
    chosen = at_random(FOUR, 20, np.random.default_rng(0))
    assert chosen == at_random(FOUR, 20, np.random.default_rng(0)) == sorted(set(chosen))
    assert Counter(pair.prompt for pair in chosen) == dict.fromkeys(range(10), 2)
    assert chosen != at_random(FOUR, 20, np.random.default_rng(1))
    seen = Counter(pair for i in range(400) for pair in at_random(FOUR, 10, np.random.default_rng(i)))
    assert len(seen) == 60
    assert all(abs(n - 400 / 6) < 5 * np.sqrt(400 * 5 / 36) for n in seen.values())
    assert at_random(FOUR, 99, np.random.default_rng(0)) == FOUR


def test_the_pairs_on_which_the_members_disagree_most_by_hand():
    one = np.array([[0.0, 1, 5, 0], [0, 2, 5, 9]])  # differences by member, 0-1: -1 -2; 0-3: 0 -9; 2-3: 5 -4 ...
    two = np.array([[0.0, 0, 0, 1], [7, 7, 7, 8]])  # a member that adds 7 to all does not disagree
    pairs = candidates([list("abcd"), list("abcd")])
    assert by_disagreement(pairs, [one, two], 1) == [(0, 0, 3)]
    assert by_disagreement(pairs, [one, one + 3], 2) == [(0, 0, 3), (1, 0, 3)], "one of each prompt first"
    assert by_disagreement(pairs, [one, two], 3) == [(0, 0, 3), (0, 2, 3), (1, 0, 1)], "equal ones in their order"
    deviations = {pair: np.std(one[:, pair.first] - one[:, pair.second]) for pair in pairs if pair.prompt == 0}
    best = sorted(sorted(deviations), key=lambda pair: -deviations[pair])[:4]
    assert by_disagreement([pair for pair in pairs if pair.prompt == 0], [one], 4) == sorted(best)


def test_one_member_cannot_disagree():
    with pytest.raises(ValueError, match="at least 2"):
        by_disagreement([Candidate(0, 0, 1)], [np.zeros((1, 2))], 1)
