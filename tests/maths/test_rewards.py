import pytest
import torch

from rlnlp.maths.kl import k1
from rlnlp.maths.rewards import on_last_token, penalized_rewards, subtract_missing_eos_penalty
from support import reference

D = torch.float64


@pytest.fixture(params=["ragged", "holes"])
def mask(request):
    rows = reference.RAGGED if request.param == "ragged" else reference.HOLES
    assert len(set(reference.lengths(rows))) > 2
    assert any(map(reference.has_hole, rows)) == (request.param == "holes")
    return torch.tensor(rows)


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
