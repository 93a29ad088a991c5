"""A term that abstains with None: it counts nothing there, and is averaged over the other responses."""

import pytest
import torch

from rlnlp.algos.observe import rollout_metrics, sample_rows
from rlnlp.evaluate.measure import Measurement, comparison, heldout_rows
from rlnlp.rewards.shaping import Shaping
from rlnlp.rewards.terms import text_term, weighted_sum
from support.rewards import three_texts


def scores_of(rollout, values, shaping=None):
    terms = {"some": (text_term("some", lambda completions: values, {}, three_texts), 2.0)}
    terms["all"] = (text_term("all", lambda completions: [1, 1, 1], {}, three_texts), 1.0)
    return weighted_sum(terms, {"some": shaping} if shaping else None)(rollout)


def test_none_adds_nothing_and_the_mean_is_over_the_others(rollout):
    scores = scores_of(rollout, [None, 3, 5])
    assert scores.score.tolist() == [1, 7, 11]
    metrics = rollout_metrics(rollout, scores, torch.zeros(3, 3), 1)
    assert (metrics["score/some"], metrics["score/all"]) == (4, 1)
    rows = sample_rows(three_texts(None), scores, torch.zeros(3, 3))
    assert [row["terms"]["some"] for row in rows] == [None, 3, 5]


def test_none_is_neither_shifted_nor_a_veto(rollout):
    shaping = Shaping(shift=10.0, floor=4.0)
    assert scores_of(rollout, [None, 3, 5], shaping).score.tolist() == [1, 26, 31], "3 is below the floor"


def test_a_list_for_each_token_may_be_none_too(rollout):
    scores = scores_of(rollout, [[1.0, 2.0], None, [4.0]])
    assert scores.rewards.tolist() == [[2, 5, 0], [0, 0, 1], [9, 0, 0]]
    assert scores.given["some"].tolist() == [True, False, True]


def test_a_term_that_abstains_from_all_has_no_mean_and_the_step_counts(rollout):
    scores = scores_of(rollout, [None, None, None])
    metrics = rollout_metrics(rollout, scores, torch.zeros(3, 3), 1)
    assert "score/some" not in metrics
    assert metrics["score"] == 1


def measured(values, given):
    each = torch.tensor(values)
    return Measurement(each, each, each.long(), {"t": each}, ["p"] * len(values), ["r"] * len(values), True,
                       {"t": torch.tensor(given)})  # fmt: skip


def test_before_and_after_compare_the_prompts_that_the_term_judges_both_times():
    before, after = (
        measured([0.0, 2.0, 0.0, 5.0], [False, True, True, True]),
        measured([9.0, 4.0, 0.0, 6.0], [1, 1, 0, 1]),
    )
    after.given["t"] = after.given["t"].bool()
    result = comparison(before, after)
    assert result["before"]["terms"]["t"] == pytest.approx(7 / 3)
    assert result["after"]["terms"]["t"] == pytest.approx(19 / 3)
    assert result["difference"]["terms"]["t"]["mean"] == pytest.approx(1.5)
    rows = list(heldout_rows(before, after))
    assert [row["before"]["terms"]["t"] for row in rows] == [None, 2, 0, 5]
    assert rows[2]["after"]["terms"]["t"] is None


def test_a_term_that_judges_no_prompt_both_times_has_no_difference():
    result = comparison(measured([1.0, 0.0], [True, False]), measured([0.0, 1.0], [False, True]))
    assert result["difference"]["terms"] == {}
