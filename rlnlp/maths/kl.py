"""Estimates of KL(policy || reference) from samples of the policy, and rewards with a KL penalty."""

from torch import Tensor

from rlnlp.maths.masked import last_true


def k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Log pi - log ref of the taken tokens, nats: unbiased for the KL, may be negative. Any shape.

    Schulman, "Approximating KL divergence" (2020), names it k1.
    """
    return logprobs - ref_logprobs


def k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """(log pi - log ref)^2 / 2 of the taken tokens, nats: never negative, biased, small variance. Any shape.

    Schulman, "Approximating KL divergence" (2020), names it k2.
    """
    return (logprobs - ref_logprobs).square() / 2


def k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Rho - 1 - log rho, rho = ref / pi, of the taken tokens, nats: unbiased for the KL and never negative. Any shape.

    Schulman, "Approximating KL divergence" (2020), names it k3. The log-ratio is clamped to at most 20, so that
    a token that the policy almost never takes cannot overflow.
    """
    log_ratio = ref_logprobs - logprobs
    return log_ratio.clamp(max=20).expm1() - log_ratio.clamp(max=20)


def limited_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """``k3`` clamped to at most 10 nats, for use in rewards (the limit of NeMo-RL and verl). Any shape."""
    return k3(logprobs, ref_logprobs).clamp(max=10)


ESTIMATORS = {"k1": k1, "k2": k2, "k3": limited_k3}  # of a token's KL in the reward, by the name in the config


def subtract_missing_eos_penalty(rewards: Tensor, mask: Tensor, ended: Tensor, penalty: float) -> Tensor:
    """``rewards`` minus ``penalty`` on the last token of each response without an end token. (B, T), (B, T), (B,)."""
    return rewards - on_last_token(penalty * (~ended).to(rewards.dtype), mask)


def penalized_rewards(rewards: Tensor, kl: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """r_t - kl_coef * KL_t on the tokens that the policy chose, 0 elsewhere. All (B, T).

    Ziegler et al. 2019 (arXiv:1909.08593) eq. 2, written per token. No gradient passes through the KL.

    Raises:
        ValueError: the shapes differ.
    """
    if not rewards.shape == kl.shape == mask.shape:
        raise ValueError(
            f"shapes differ: rewards {tuple(rewards.shape)}, kl {tuple(kl.shape)}, mask {tuple(mask.shape)}"
        )
    return (rewards - kl_coef * kl.detach()).masked_fill(~mask, 0)


def on_last_token(scores: Tensor, mask: Tensor) -> Tensor:
    """Each score on the last token that the policy chose, 0 elsewhere. (B,), (B, T) -> (B, T).

    Raises:
        ValueError: a row of ``mask`` has no True position, or the number of scores differs from the number of rows.
    """
    if scores.shape != mask.shape[:1]:
        raise ValueError(f"{tuple(scores.shape)} scores for a mask of {tuple(mask.shape)}")
    rewards = scores.new_zeros(mask.shape)
    return rewards.scatter(1, last_true(mask).unsqueeze(1), scores.unsqueeze(1))
