import pytest
import torch

import reference
from rlnlp.maths.losses import negative_log_likelihood, policy_gradient
from rlnlp.maths.masked import reduce

D = torch.float64


def test_policy_gradient_loss_of_the_published_case():
    # rlax rlax/_src/policy_gradients_test.py: the mean over three places of -w * advantage * log pi
    logits = torch.tensor([[[1.0, 1, 1], [2, 0, 0], [-1, -2, -3]], [[2, 2, 2], [3, 1, 1], [0, -1, -2]]], dtype=D)
    actions = torch.tensor([[0, 1, 2], [0, 0, 0]])
    advantages = torch.tensor([[0.3, 0.2, 0.1], [-0.3, -0.2, -0.1]], dtype=D)
    weights = torch.tensor([[-2.0, 2, 0], [-3, 1, -1]], dtype=D)
    logprobs = logits.log_softmax(-1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    loss = policy_gradient(logprobs, weights * advantages).mean(1)
    assert loss.tolist() == pytest.approx([0.0788835088, 0.327200909], rel=1e-7)


@pytest.mark.parametrize("rows", [reference.RAGGED, reference.HOLES])
def test_policy_gradient_loss_matches_the_slow_reference(rows):
    assert len(set(reference.lengths(rows))) > 2
    mask, generator = torch.tensor(rows), torch.Generator().manual_seed(0)
    logprobs = -torch.rand(mask.shape, generator=generator, dtype=D)
    advantages = torch.randn(len(mask), generator=generator, dtype=D)
    got = reduce(policy_gradient(logprobs, advantages.unsqueeze(1)), mask, 4).item()
    want = reference.policy_gradient_loss(logprobs.tolist(), advantages.tolist(), rows, 4)
    assert got == pytest.approx(want, rel=1e-12)


def test_the_gradient_of_the_loss_is_the_negated_advantage_and_none_reaches_the_advantage():
    logprobs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    advantages = torch.tensor([[3.0, -4.0]], requires_grad=True)
    policy_gradient(logprobs, advantages).sum().backward()
    assert logprobs.grad.tolist() == [[-3.0, 4.0]]
    assert advantages.grad is None


def test_the_loss_of_a_likely_response_with_a_good_return_is_small():
    assert policy_gradient(torch.tensor([-0.1]), torch.tensor([2.0])).item() == pytest.approx(0.2)


def test_negative_log_likelihood_by_hand():
    assert negative_log_likelihood(torch.tensor([[-0.5, -2.0]])).tolist() == [[0.5, 2.0]]
