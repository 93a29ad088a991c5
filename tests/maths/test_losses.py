import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlnlp.maths.losses import (
    clipped_policy_gradient,
    clipped_value_error,
    negative_log_likelihood,
    policy_gradient,
)
from rlnlp.maths.masked import reduce
from support import reference
from support.generated import MANY, NUMBERS

D = torch.float64


def test_policy_gradient_loss_of_the_published_case():
    # rlax rlax/_src/policy_gradients_test.py: the mean over three positions of -w * advantage * log pi
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


def surrogate(ratios, advantages, low=0.2, high=0.2):
    """Loss, where it is clipped, and its gradient in log pi, of ratios with the old policy."""
    old = torch.linspace(-3, -1, len(ratios), dtype=D)
    logprobs = (old + torch.tensor(ratios, dtype=D).log()).requires_grad_(True)
    loss, clipped = clipped_policy_gradient(logprobs, old, torch.tensor(advantages, dtype=D), low, high)
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    return loss.tolist(), clipped.tolist(), gradient.tolist()


def test_clipped_surrogate_of_the_published_cases():
    # NeMo-RL tests/unit/algorithms/test_loss_functions.py::test_clipped_pg_loss_ppo_clipping
    loss, _, _ = surrogate([0.5, 1.0, 1.5], [1.0, -1.0, 2.0])
    assert loss == pytest.approx([-0.5, 1.0, -2.4], rel=1e-9)
    assert sum(loss) / 3 == pytest.approx(-0.6333333333, rel=1e-9)
    # rlax rlax/_src/policy_gradients_test.py, the mean over three positions
    logits = torch.tensor([[1.0, 1, 1], [2, 0, 0], [-1, -2, -3]], dtype=D)
    old = torch.tensor([[1.0, 1, 1], [2, 0, 0], [-3, -2, -1]], dtype=D)
    new, was = (z.log_softmax(-1)[range(3), range(3)] for z in (logits, old))
    for sign, published, exact in ((1, -0.17117467, -(0.5 + 0.1 * math.exp(-2)) / 3), (-1, 0.19333333, 0.58 / 3)):
        loss, _ = clipped_policy_gradient(new, was, sign * torch.tensor([0.3, 0.2, 0.1], dtype=D), 0.2, 0.2)
        assert loss.mean().item() == pytest.approx(exact, abs=1e-12)
        assert exact == pytest.approx(published, abs=4e-6), "published from float32"


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.4, 2.0, -2.6, 0),  # better and likelier than 1 + high allows: no further
        (1.25, 2.0, -2.5, -2.5),
        (0.5, 2.0, -1.0, -1.0),  # better but less likely: pulled back, however far it is
        (0.5, -2.0, 1.6, 0),  # worse and less likely than 1 - low allows: no further
        (0.9, -2.0, 1.8, 1.8),
        (1.4, -2.0, 2.8, 2.8),  # worse but likelier: pushed back, however far it is
        (1.4, 0.0, 0.0, 0),
    ],
)
def test_the_gradient_stops_only_where_the_update_has_gone_far_enough(ratio, advantage, loss, gradient):
    got = surrogate([ratio], [advantage], low=0.2, high=0.3)
    assert got == (pytest.approx([loss]), [gradient == 0 and advantage != 0], pytest.approx([gradient], abs=1e-12))


@given(st.floats(-8, 0), st.floats(-8, 0), NUMBERS, st.floats(0.01, 0.99), st.floats(0.01, 2))
@MANY
def test_clipped_surrogate_matches_the_slow_reference(logprob, old, advantage, low, high):
    loss, clipped = clipped_policy_gradient(*(torch.tensor([x], dtype=D) for x in (logprob, old, advantage)), low, high)
    want = reference.clipped_surrogate(logprob, old, advantage, low, high)
    assert loss.item() == pytest.approx(want, rel=1e-9, abs=1e-12)
    free = -math.exp(logprob - old) * advantage
    if abs(free - want) > 1e-9:
        assert clipped.item()


def test_at_the_old_policy_the_gradient_is_the_policy_gradient():
    advantages = [1.5, -2.0, 0.0, 0.25]
    loss, clipped, gradient = surrogate([1.0] * 4, advantages)
    assert gradient == pytest.approx([-a for a in advantages], rel=1e-12)
    assert loss == pytest.approx([-a for a in advantages], rel=1e-12)
    assert not any(clipped)


def test_no_gradient_reaches_the_old_policy_or_the_advantages():
    logprobs, old, advantages = (torch.tensor([[-1.0, -2.0]], requires_grad=True) for _ in range(3))
    clipped_policy_gradient(logprobs, old, advantages, 0.2, 0.2)[0].sum().backward()
    assert logprobs.grad is not None
    assert old.grad is None
    assert advantages.grad is None


def test_a_ratio_beyond_all_bounds_stays_finite_with_its_gradient():
    logprobs = torch.tensor([0.0, -2000.0], requires_grad=True)
    loss, _ = clipped_policy_gradient(logprobs, torch.tensor([-2000.0, 0.0]), torch.tensor([-1.0, -1.0]), 0.2, 0.2)
    loss.sum().backward()
    assert loss.tolist() == pytest.approx([math.exp(20), 0.8])
    assert logprobs.grad.tolist() == pytest.approx([math.exp(20), 0.0]), "far too likely: it is still pushed back"


@pytest.mark.parametrize(("advantage", "loss"), [(1.0, -math.exp(-20)), (-1.0, 0.8)])
def test_a_token_that_has_become_impossible_has_the_gradient_of_the_smallest_ratio(advantage, loss):
    logprobs = torch.tensor([-math.inf], requires_grad=True)
    got, _ = clipped_policy_gradient(logprobs, torch.tensor([-1.0]), torch.tensor([advantage]), 0.2, 0.2)
    got.sum().backward()
    assert got.item() == pytest.approx(loss)
    assert logprobs.grad.item() == pytest.approx(min(loss, 0.0))


def test_value_error_of_the_published_case():
    # openai/lm-human-preferences lm_human_preferences/train_policy.py::loss
    v, old, returns = (torch.tensor(x, dtype=D) for x in ([1, 0.5, -1, 0.5], [0.5, 0.5, 0, 0], [0.6, 1, 0.5, 0.6]))
    loss, clipped = clipped_value_error(v, old, returns, 0.2)
    assert loss.mean().item() == pytest.approx(0.3525, abs=1e-9)
    assert clipped.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("value", "target", "loss", "gradient"),
    [
        (0.1, 1.0, 0.405, -0.9),  # near the old value 0: as it is
        (0.6, 1.0, 0.32, 0),  # towards the target, but further than 0.2: counts as 0.2 and moves no more
        (-0.6, 1.0, 1.28, -1.6),  # away from the target: all of the error
        (1.5, 1.0, 0.32, 0),  # beyond the target: 0.2 is farther from it than 1.5
        (2.5, 1.0, 1.125, 1.5),
    ],
)
def test_a_value_moves_at_most_the_clip_towards_its_target(value, target, loss, gradient):
    v = torch.tensor([value], dtype=D, requires_grad=True)
    got, clipped = clipped_value_error(v, torch.zeros(1, dtype=D), torch.tensor([target], dtype=D), 0.2)
    got.sum().backward()
    assert got.item() == pytest.approx(loss)
    assert v.grad.item() == pytest.approx(gradient, abs=1e-12)
    assert clipped.item() == (gradient == 0)


@given(NUMBERS, NUMBERS, NUMBERS, st.sampled_from([0.05, 0.2, 1.0, 100.0]))
@MANY
def test_value_error_matches_the_slow_reference(value, old, target, clip):
    got, _ = clipped_value_error(*(torch.tensor([x], dtype=D) for x in (value, old, target)), clip)
    assert got.item() == pytest.approx(reference.clipped_value_error(value, old, target, clip), rel=1e-12)


def test_no_gradient_reaches_the_old_values_or_the_returns():
    values, old, returns = (torch.tensor([[v]], requires_grad=True) for v in (0.1, 0.0, 1.0))
    clipped_value_error(values, old, returns, 0.05)[0].sum().backward()
    assert old.grad is None
    assert returns.grad is None


@pytest.mark.parametrize("wrong", range(3))
def test_shapes_that_differ_are_refused_instead_of_broadcast(wrong):
    parts = [torch.zeros(2, 3) for _ in range(3)]
    parts[wrong] = parts[wrong][:, :1]
    with pytest.raises(ValueError, match="shapes differ"):
        clipped_policy_gradient(*parts, 0.2, 0.2)
    with pytest.raises(ValueError, match="shapes differ"):
        clipped_value_error(*parts, 0.2)
