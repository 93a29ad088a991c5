"""Losses per token; ``masked.reduce`` averages them."""

from typing import Any

import torch
from torch import Tensor

from rlnlp.maths.shapes import same_shape

LARGEST_LOG_RATIO = 20.0  # a larger exponential could overflow in a sum; no update needs a ratio of 5e8


def policy_gradient(logprobs: Tensor, advantages: Tensor) -> Tensor:
    """-A_t log pi(a_t | s_t): its gradient is the policy gradient, negated. (B, T), (B, T) or (B, 1) -> (B, T).

    Williams 1992 ("Simple statistical gradient-following algorithms"), section 5. The advantage is a constant
    here: no gradient passes through it.

    Raises:
        ValueError: ``advantages`` has another shape.
    """
    if advantages.shape not in (logprobs.shape, (logprobs.shape[0], 1)):
        raise ValueError(f"advantages {tuple(advantages.shape)} do not fit logprobs {tuple(logprobs.shape)}")
    return -advantages.detach() * logprobs


def clipped_policy_gradient(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """max(-A rho, -A clip(rho, 1 - low, 1 + high)) with rho = pi / pi_old; and where the clipped term is larger.

    All (B, T). Schulman et al. 2017 (arXiv:1707.06347) eq. 7, negated; with two ranges, Yu et al. 2025
    (arXiv:2503.14476) section 3.1. Where the clipped term is larger, the gradient is 0.

    rho counts as at most exp(20) and at least exp(-20). Beyond, the gradient is that at the limit and not 0: a token
    that became far too likely is still pushed back.

    Raises:
        ValueError: the shapes differ.
    """
    same_shape(logprobs=logprobs, old_logprobs=old_logprobs, advantages=advantages)
    ratio: Tensor = _LimitedExp.apply(logprobs - old_logprobs.detach())  # type: ignore[no-untyped-call]
    advantages = advantages.detach()
    free, clipped = -advantages * ratio, -advantages * ratio.clamp(1 - low, 1 + high)
    return free.maximum(clipped), clipped > free


class _LimitedExp(torch.autograd.Function):
    """The exponential of at most ``LARGEST_LOG_RATIO`` either way; its gradient is the exponential everywhere."""

    @staticmethod
    def forward(ctx: Any, log_ratio: Tensor) -> Tensor:
        """Any shape."""
        ratio = log_ratio.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()
        ctx.save_for_backward(ratio)
        return ratio

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        """The same shape."""
        (ratio,) = ctx.saved_tensors
        gradient: Tensor = upstream * ratio
        return gradient


def clipped_value_error(values: Tensor, old_values: Tensor, returns: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2) / 2; and where the clipped term is larger.

    All (B, T). Not in the PPO paper but in its authors' code (openai/baselines, ppo2); the half as in Ziegler et
    al. 2019 (arXiv:1909.08593, their code).

    Raises:
        ValueError: the shapes differ.
    """
    same_shape(values=values, old_values=old_values, returns=returns)
    old = old_values.detach()
    free = (values - returns.detach()).square()
    clipped = (values.clamp(old - clip, old + clip) - returns.detach()).square()
    return free.maximum(clipped) / 2, clipped > free


def negative_log_likelihood(logprobs: Tensor) -> Tensor:
    """-log pi(a_t | s_t), nats per token. (B, T) -> (B, T)."""
    return -logprobs
