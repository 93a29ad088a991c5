"""Advantages of tokens from a critic: Schulman et al. 2016, published cases, and what must change nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlnlp.maths.advantages import generalized_advantages
from support import reference
from support.generated import MANY, cases, tensors

D = torch.float64
ONES = torch.ones(1, 4, dtype=torch.bool)


def matrix(*rows):
    return torch.tensor(rows, dtype=D)


def test_advantages_by_hand():
    rewards, values = matrix([0, 0, 1]), matrix([0.5, 0.25, 0.75])
    # differences 1 - .75 = .25; .9 x .75 - .25 = .425; .9 x .25 - .5 = -.275; gamma lam = .72
    want = [-0.275 + 0.72 * (0.425 + 0.72 * 0.25), 0.425 + 0.72 * 0.25, 0.25]
    assert generalized_advantages(rewards, values, ONES[:, :3], 0.9, 0.8)[0].tolist() == pytest.approx(want, rel=1e-12)


def test_advantages_and_returns_of_the_published_case():
    # torchtune tests/torchtune/rlhf/test_rewards.py::TestEstimateAdvantages
    values = matrix([0, 0, 0, 1])
    got = generalized_advantages(matrix([0, 0, 0, 1]), values, ONES, 0.9, 0.95)
    assert got[0].tolist() == pytest.approx([0.6579225, 0.7695, 0.9, 0.0], abs=1e-6)
    assert (got + values)[0].tolist() == pytest.approx([0.6579225, 0.7695, 0.9, 1.0], abs=1e-6)


def test_advantages_of_the_published_case_with_a_value_after_the_end():
    # rlax rlax/_src/multistep_test.py, lambda 0.7: the last reward has discount x the value after it. In the second
    # sequence the discount is 0 after the fourth step: two episodes in one row, here a row each.
    rewards = matrix([0, 0, 1, 0, -0.5 + 0.99 * -1])
    got = generalized_advantages(rewards, matrix([1, 4, -3, -2, -1]), torch.ones(1, 5, dtype=torch.bool), 0.99, 0.7)
    assert got[0, [0, 1, 4]].tolist() == pytest.approx([-0.676979, -5.248167, -0.49], abs=1e-6)
    assert got[0, [2, 3]].tolist() == pytest.approx([2.4846, 0.6704], abs=5e-5), "given with four digits"
    mask = torch.tensor([[True] * 4, [True, False, False, False]])
    rewards, values = matrix([0, 0, 0, 0], [1 + 0.9 * -1, 0, 0, 0]), matrix([-3, -2, -1, 0], [5, 0, 0, 0])
    got = generalized_advantages(rewards, values, mask, 0.9, 0.7)
    assert [*got[0].tolist(), got[1, 0].item()] == pytest.approx([2.2899, 1.73, 1.0, 0.0, -4.9], abs=1e-6)


@given(cases(2), st.sampled_from([0.0, 0.5, 0.99, 1.0]), st.sampled_from([0.0, 0.7, 0.95, 1.0]))
@MANY
def test_advantages_match_the_sum_of_the_paper(case, gamma, lam):
    rows, rewards, values = case
    mask, r, v = tensors(case)
    want = reference.generalized_advantages(rewards, values, rows, gamma, lam)
    torch.testing.assert_close(generalized_advantages(r, v, mask, gamma, lam), torch.tensor(want, dtype=D))


@given(cases(2), st.sampled_from([0.5, 0.99, 1.0]))
@MANY
def test_lambda_1_is_what_follows_less_the_value_and_lambda_0_the_difference_of_two_values(case, gamma):
    rows, rewards, _ = case
    mask, r, v = tensors(case)
    follows = torch.tensor(reference.discounted(rewards, rows, gamma), dtype=D)
    got = generalized_advantages(r, v, mask, gamma, 1.0)
    torch.testing.assert_close(got, (follows - v).masked_fill(~mask, 0))
    got = generalized_advantages(r, v, mask, gamma, 0.0)
    for b, row in enumerate(rows):
        chosen = reference.places(row)
        for t, after in zip(chosen, [*chosen[1:], None], strict=True):
            next_value = 0 if after is None else v[b, after].item()
            assert got[b, t].item() == pytest.approx(r[b, t].item() + gamma * next_value - v[b, t].item(), abs=1e-12)


@given(cases(2), st.randoms(use_true_random=False))
@MANY
def test_holes_padding_and_the_order_of_rows_change_nothing(case, random):
    rows, *_ = case
    mask, r, v = tensors(case)
    whole = generalized_advantages(r, v, mask, 0.9, 0.8)
    assert not whole[~mask].any()
    for b, row in enumerate(rows):  # by itself, and without its holes
        chosen = reference.places(row)
        alone = generalized_advantages(r[b : b + 1, chosen], v[b : b + 1, chosen], mask[b : b + 1, chosen], 0.9, 0.8)
        torch.testing.assert_close(whole[b, chosen], alone[0])
    nan = torch.full((len(rows), 2), float("nan"), dtype=D)
    off = torch.zeros(len(rows), 2, dtype=torch.bool)
    wide = [torch.cat([nan, x.masked_fill(~mask, float("nan")), nan], 1) for x in (r, v)]
    padded = generalized_advantages(*wide, torch.cat([off, mask, off], 1), 0.9, 0.8)
    assert torch.equal(padded[:, 2:-2], whole), "what stands at positions that nobody chose is not read"
    assert not padded[:, [0, 1, -2, -1]].any()
    order = torch.tensor(random.sample(range(len(rows)), len(rows)))
    assert torch.equal(generalized_advantages(r[order], v[order], mask[order], 0.9, 0.8), whole[order])


def test_a_perfect_critic_leaves_no_advantage():
    rewards = matrix([0.0, 1.0, -2.0, 4.0])
    values = torch.tensor(reference.discounted(rewards.tolist(), ONES.tolist(), 0.9), dtype=D)
    assert generalized_advantages(rewards, values, ONES, 0.9, 0.95).abs().max() < 1e-12


def test_float32_over_two_thousand_tokens_stays_within_a_millionth_of_the_largest():
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 1, 2000, generator=generator, dtype=D)
    mask = torch.ones(1, 2000, dtype=torch.bool)
    exact = generalized_advantages(rewards, values, mask, 1.0, 0.95)
    got = generalized_advantages(rewards.float(), values.float(), mask, 1.0, 0.95).double()
    assert ((got - exact).abs().max() / exact.abs().max()).item() < 1e-6


@pytest.mark.parametrize("wrong", range(3))
def test_shapes_that_differ_are_refused_instead_of_broadcast(wrong):
    parts = [torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)]
    parts[wrong] = parts[wrong][:1]
    with pytest.raises(ValueError, match="shapes differ"):
        generalized_advantages(*parts, 1.0, 0.95)
