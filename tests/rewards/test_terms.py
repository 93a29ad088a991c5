"""The reward contract: what a function is given, what it may return, and how the terms are summed."""

import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from rlnlp.rewards.shaping import Shaping
from rlnlp.rewards.terms import text_term, values_tensor, weighted_sum
from rlnlp.rewards.values import plain_values
from support.rewards import COLUMNS, COMPLETIONS, MESSAGES, PROMPTS, REFERENCES, fails, three_texts


def test_the_reward_is_the_weighted_sum_on_the_last_token_that_the_policy_chose(rollout):
    one, two = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.0, -1.0])
    scores = weighted_sum({"one": (lambda _: one, 0.1), "two": (lambda _: two, -2.0)})(rollout)
    assert scores.rewards.tolist() == [
        [0, pytest.approx(0.1 - 1), 0], [0, 0, pytest.approx(0.2)], [pytest.approx(0.3 + 2), 0, 0],
    ]  # fmt: skip
    assert scores.score.tolist() == pytest.approx([-0.9, 0.2, 2.3])
    assert {name: term.tolist() for name, term in scores.terms.items()} == {"one": [1, 2, 3], "two": [0.5, 0, -1]}


@pytest.mark.parametrize("values", [torch.ones(2), torch.ones(3, 1), torch.tensor([1.0, float("nan"), 0.0])])
def test_a_term_inside_the_package_is_checked_too(values, rollout):
    reward = weighted_sum({"bad": (lambda _: values, 1.0)})
    fails(7, "reward term 'bad' (has shape|returned nan for completion 1)", reward, rollout)


def test_a_function_written_for_trl_works_as_it_is(rollout):
    seen = {}

    def f(prompts, completions, **kwargs):
        seen.update(kwargs, prompts=prompts, completions=completions)
        return [float(len(c)) for c in completions]

    assert text_term("t", f, {"strict": True}, three_texts)(rollout).tolist() == [3, 9, 0]
    assert seen == {
        "prompts": PROMPTS, "completions": COMPLETIONS, "completion_ids": [[1, 1], [1, 1], [1]],
        "references": REFERENCES, "messages": MESSAGES, **COLUMNS, "strict": True,
    }  # fmt: skip


def test_a_conversational_function_is_given_lists_of_messages_as_in_trl(rollout):
    seen = {}

    def f(prompts, completions, messages):
        seen.update(prompts=prompts, completions=completions, messages=messages)
        return [float(len(turns[0]["content"])) for turns in completions]

    assert text_term("t", f, {}, three_texts, conversational=True)(rollout).tolist() == [3, 9, 0]
    assert seen["prompts"] == [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    assert seen["completions"] == [[{"role": "assistant", "content": text}] for text in COMPLETIONS]
    assert seen["messages"] == MESSAGES


@pytest.mark.parametrize(
    "values",
    [
        [1, 2.5, -3], (1, 2.5, -3), np.array([1, 2.5, -3]), torch.tensor([1, 2.5, -3], dtype=torch.float64),
        torch.tensor([1, 2.5, -3], requires_grad=True), [np.float32(1), Fraction(5, 2), np.int64(-3)],
        [torch.tensor(1.0), torch.tensor(2.5), torch.tensor(-3)], [np.bool_(True), Decimal("2.5"), np.array(-3)],
    ],
)  # fmt: skip
def test_flat_lists_arrays_and_tensors_of_numbers_are_taken(values):
    found = values_tensor("t", plain_values("t", values, [1, 1, 1]), torch.ones(3, 1).bool())
    assert (found.tolist(), found.dtype, found.requires_grad) == ([1, 2.5, -3], torch.float32, False)


def test_a_list_per_completion_rewards_the_tokens_that_the_policy_chose(rollout):
    given = []

    def each(completion_ids, weight):
        given.append(completion_ids)
        return [[1.0, 2.0], np.array([3.0, weight[1]]), (5,)]

    scores = weighted_sum({"each": (text_term("each", each, {}, three_texts), 10.0)})(rollout)
    assert given == [[[1, 1], [1, 1], [1]]]
    assert scores.rewards.tolist() == [[10, 20, 0], [30, 0, 20], [50, 0, 0]]
    assert scores.terms["each"].tolist() == [3, 5, 5]


def test_shaping_and_other_terms_change_a_per_token_reward_on_the_last_token_only(rollout):
    each = text_term("each", lambda completions: [[1.0, 2.0], [3.0, 4.0], [5.0]], {}, three_texts)
    whole = torch.tensor([0.5, 0.25, 0.125])
    shapings = {"each": Shaping(scale=2.0, clip=(0.0, 10.0))}
    scores = weighted_sum({"each": (each, 1.0), "whole": (lambda _: whole, 1.0)}, shapings)(rollout)
    assert scores.rewards.tolist() == [[2, 4.5, 0], [6, 0, 4.25], [10.125, 0, 0]]
    assert scores.score.tolist() == [6.5, 10.25, 10.125]


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([[1.0, 2.0], [1.0], [1.0]], "returned 1 number for the 2 tokens of completion 1"),
        ([[1.0, 2.0], 3.0, [1.0]], "returned 3.0 for completion 1, expected a list"),
        ([3.0, [1.0, 2.0], [1.0]], r"returned \[1.0, 2.0\] for completion 1, expected a number"),
        ([[1.0, 2.0], [1.0, float("nan")], [1.0]], "returned nan for completion 1"),
        ([[1.0, 2.0], [1.0, "x"], [1.0]], "returned 'x' for completion 1"),
        ([[1.0, 2.0]], "returned 1 values for 3 completions"),
    ],
)
def test_wrong_per_token_rewards_are_reported(rollout, values, what):
    fails(7, what, text_term("t", lambda completions: values, {}, three_texts), rollout)


def leave():
    sys.exit(0)


def tail(value):
    return lambda completions: [0.0] * (len(completions) - 1) + [value]


@pytest.mark.parametrize(
    ("fn", "what"),
    [
        (lambda completions: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda completions: leave(), "raised SystemExit: 0"),
        (lambda completions: completions[99], "raised IndexError"),
        (lambda completions: [1.0], "returned 1 values for 3 completions"),
        (lambda completions: [], "returned 0 values for 3 completions"),
        (tail(float("nan")), "returned nan for completion 2"),
        (tail(-float("inf")), "returned -inf for completion 2"),
        (tail(1e300), "for completion 2"),
        (tail(10**400), "for completion 2"),
        (tail([None]), r"returned \[None\] for completion 2, expected a number"),
        (tail(np.datetime64("2026-01-01")), "for completion 2, expected a number"),
        (tail("1.0"), "returned '1.0' for completion 2, expected a number"),
        (tail(1j), "returned 1j for completion 2, expected a number"),
        (tail([1.0]), r"returned \[1.0\] for completion 2, expected a number"),
        (lambda completions: "abc", "returned str, expected a list of 3 numbers"),
        (lambda completions: None, "returned NoneType, expected"),
        (lambda completions: 1.0, "returned float, expected"),
        (lambda completions: torch.tensor(1.0), "returned float, expected"),
        (lambda completions: (1.0 for _ in completions), "returned generator, expected"),
        (lambda completions: dict.fromkeys(range(3), 1.0), "returned dict, expected"),
        (lambda completions: torch.ones(3, 1), r"returned \[1.0\] for completion 0"),
        (lambda completions: np.array(["a", "b", "c"]), "returned 'a' for completion 0"),
    ],
)
def test_a_function_that_misbehaves_is_exit_7_with_its_term_and_what_it_did(fn, what, rollout):
    message = fails(7, f"reward term 'polite' .*{what}", text_term("polite", fn, {}, three_texts), rollout)
    assert "reward.terms.polite.fn" in message


def test_a_person_who_interrupts_a_reward_function_is_not_taken_for_its_fault(rollout):
    def f(completions):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        text_term("t", f, {}, three_texts)(rollout)


def test_a_function_that_changes_its_lists_changes_nothing_for_the_other_terms(rollout):
    def rude(prompts, completions, weight):
        for given in (prompts, completions, weight):
            given.reverse()
        completions.append("more")
        return [0.0, 0.0, 0.0]

    shared = three_texts(None)
    terms = {"rude": (text_term("rude", rude, {}, lambda _: shared), 1.0)}
    terms["late"] = (text_term("late", lambda completions: [len(c) for c in completions], {}, lambda _: shared), 1.0)
    assert weighted_sum(terms)(rollout).terms["late"].tolist() == [3, 9, 0]


def test_an_argument_that_the_function_does_not_take_is_exit_2(rollout):
    fails(2, r"reward\.terms\.t\.args: no argument 'bonsu'; the function accepts: completions, bonus",
          text_term, "t", lambda completions, bonus=1: [], {"bonsu": 1}, three_texts)  # fmt: skip


def test_a_column_that_the_data_does_not_have_is_exit_3_and_lists_the_columns(rollout):
    term = text_term("t", lambda completions, label: [0.0] * 3, {}, three_texts)
    assert "topic, weight" in fails(3, "reward term 't' needs 'label'", term, rollout)
