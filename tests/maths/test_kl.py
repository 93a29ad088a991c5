import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlnlp.maths.kl import (
    ESTIMATORS,
    k1,
    k2,
    k3,
    limited_k3,
    on_last_token,
    penalized_rewards,
    subtract_missing_eos_penalty,
)
from support import reference
from support.generated import MANY

D = torch.float64


@pytest.fixture(params=["ragged", "holes"])
def mask(request):
    rows = reference.RAGGED if request.param == "ragged" else reference.HOLES
    assert len(set(reference.lengths(rows))) > 2
    assert any(map(reference.has_hole, rows)) == (request.param == "holes")
    return torch.tensor(rows)


def test_k1_of_the_published_case():
    # NeMo-RL tests/unit/algorithms/test_loss_functions.py::test_calculate_kl
    assert k1(torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([0.0, -15.0, -30.0])).tolist() == [-1, 14, 29]


def test_k2_and_k3_of_the_published_case():
    # The same test of NeMo-RL; with its limits (input 20, output 10) k3 is .7183, 10, 10.
    logprobs, ref = torch.tensor([-1.0] * 3, dtype=D), torch.tensor([0.0, -15.0, -30.0], dtype=D)
    assert k2(logprobs, ref).tolist() == [0.5, 98, 420.5]
    assert k3(logprobs, ref).tolist() == pytest.approx([0.7182818, 13.0, 28.0], abs=1e-6)
    assert limited_k3(logprobs, ref).tolist() == pytest.approx([0.7182818, 10.0, 10.0], abs=1e-6)
    assert limited_k3(ref, logprobs).tolist() == pytest.approx([0.3678794, 10.0, 10.0], abs=1e-6)


@given(st.floats(-30, 0), st.floats(-30, 0), st.sampled_from(["k1", "k2", "k3"]))
@MANY
def test_an_estimator_is_that_of_the_paper_and_k3_is_never_negative(logprob, ref, name):
    fast = {"k1": k1, "k2": k2, "k3": k3}[name]
    got = fast(torch.tensor(logprob, dtype=D), torch.tensor(ref, dtype=D)).item()
    assert got == pytest.approx(reference.kl_of_token(logprob, min(ref, logprob + 20) if name == "k3" else ref, name))
    limited = ESTIMATORS[name](torch.tensor(logprob, dtype=D), torch.tensor(ref, dtype=D)).item()
    assert limited == pytest.approx(min(got, 10) if name == "k3" else got)
    assert name == "k1" or min(got, limited) >= 0


def test_k3_of_equal_and_of_nearly_equal_tokens_is_0_and_loses_no_digits():
    logprobs = torch.tensor([-3.0, -3.0], dtype=D)
    got = k3(logprobs, logprobs + torch.tensor([0.0, 1e-6], dtype=D)).tolist()
    assert got == [0.0, pytest.approx(5e-13, rel=1e-3)]


def test_k3_of_a_token_that_the_policy_almost_never_takes_stays_finite_in_float32():
    logprobs, ref = torch.tensor([-200.0, -1e4]), torch.tensor([-1.0, -2.0])
    assert k3(logprobs, ref).tolist() == pytest.approx([4.8516517e8] * 2, rel=1e-6)  # e^20 - 21
    assert limited_k3(logprobs, ref).tolist() == [10.0, 10.0]


@pytest.mark.parametrize("estimator", [k1, k3])
@pytest.mark.parametrize("seed", range(5))
def test_the_expectation_of_k1_and_of_k3_under_the_policy_is_the_exact_kl(seed, estimator):
    logits, ref = 3 * torch.randn(2, 9, generator=torch.Generator().manual_seed(seed), dtype=D)
    policy = logits.log_softmax(-1)
    expected = (policy.exp() * estimator(policy, ref.log_softmax(-1))).sum().item()
    assert expected == pytest.approx(reference.kl(logits.tolist(), ref.tolist()), rel=1e-12, abs=1e-12)
    assert expected > 0.1, "two distributions that hardly differ would hide a wrong sign"


def test_rewards_of_the_published_case():
    # torchtune tests/torchtune/rlhf/test_rewards.py::TestGetRewards
    logprobs = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.6, 0.7, 0.8]], dtype=D)
    ref = torch.tensor([[0.2, 0.3, 0.4], [0.6, 0.7, 0.8], [0.9, 1.0, 1.1]], dtype=D)
    scores, mask = torch.tensor([1.0, 2.0, 3.0], dtype=D), torch.ones(3, 3, dtype=torch.bool)
    kl = k1(logprobs, ref)
    want_kl = torch.tensor([[-0.1] * 3, [-0.2] * 3, [-0.3] * 3], dtype=D)
    want = torch.tensor([[0.05, 0.05, 1.05], [0.1, 0.1, 2.1], [0.15, 0.15, 3.15]], dtype=D)
    torch.testing.assert_close(kl, want_kl, rtol=0, atol=1e-12)
    got = penalized_rewards(on_last_token(scores, mask), kl, mask, 0.5)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_penalized_rewards_match_the_slow_reference(mask):
    generator = torch.Generator().manual_seed(0)
    logprobs, ref = torch.randn(2, *mask.shape, generator=generator, dtype=D)
    scores = torch.randn(len(mask), generator=generator, dtype=D)
    got = penalized_rewards(on_last_token(scores, mask), k1(logprobs, ref), mask, 0.3)
    want = reference.penalized_rewards(scores.tolist(), logprobs.tolist(), ref.tolist(), mask.tolist(), 0.3)
    torch.testing.assert_close(got, torch.tensor(want, dtype=D), rtol=1e-12, atol=1e-12)


def test_nothing_behind_the_mask_reaches_the_rewards(mask):
    nan = torch.full(mask.shape, float("nan"), dtype=D)
    rewards, kl = torch.ones(mask.shape, dtype=D), torch.full(mask.shape, 2.0, dtype=D)
    got = penalized_rewards(rewards.where(mask, nan), kl.where(mask, nan), mask, 0.25)
    assert got.tolist() == (0.5 * mask.to(D)).tolist()


def test_a_coefficient_of_zero_leaves_the_rewards_as_they_are(mask):
    rewards = on_last_token(torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=D), mask)
    assert torch.equal(penalized_rewards(rewards, torch.full_like(rewards, 7.0), mask, 0.0), rewards)


def test_no_gradient_passes_through_the_penalty():
    kl = torch.ones(1, 2, requires_grad=True)
    assert not penalized_rewards(torch.zeros(1, 2), kl, torch.ones(1, 2, dtype=torch.bool), 0.5).requires_grad


def test_scores_stand_on_the_last_token_that_the_policy_chose():
    mask = torch.tensor([[True, True, False, False], [True, False, True, False], [False, False, False, True]])
    got = on_last_token(torch.tensor([1.0, 2.0, 3.0]), mask)
    assert got.tolist() == [[0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 3]]


def test_the_rewards_of_a_response_add_up_to_its_score(mask):
    scores = torch.tensor([0.1, -0.2, 0.3, 7.0], dtype=D)
    assert torch.equal(on_last_token(scores, mask).sum(1), scores)


def test_a_response_without_a_chosen_token_cannot_carry_a_score():
    with pytest.raises(ValueError, match="row 1 "):
        on_last_token(torch.tensor([1.0, 2.0]), torch.tensor([[True, False], [False, False]]))


def test_only_a_response_without_an_end_loses_the_penalty_and_only_on_its_last_token(mask):
    ended, rewards = torch.tensor([True, False, False, True]), torch.full(mask.shape, 2.0, dtype=D)
    got = subtract_missing_eos_penalty(rewards, mask, ended, 0.75)
    want = [[2.0] * mask.shape[1] for _ in mask]
    for row in (1, 2):
        want[row][reference.places(mask[row].tolist())[-1]] = 1.25
    assert got.tolist() == want


def test_without_a_penalty_the_rewards_of_a_response_without_an_end_are_as_they_were(mask):
    rewards = torch.randn(mask.shape, generator=torch.Generator().manual_seed(1), dtype=D)
    assert torch.equal(
        subtract_missing_eos_penalty(rewards, mask, torch.zeros(len(mask), dtype=torch.bool), 0.0), rewards
    )
