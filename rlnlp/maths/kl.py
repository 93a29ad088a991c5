"""KL(policy || reference) from samples of the policy, and the rewards that are penalized with it."""

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

    Schulman, "Approximating KL divergence" (2020), names it k3. Beyond a log-ratio of 20 it is as at 20: one token
    that the policy almost never takes must not overflow.
    """
    log_ratio = ref_logprobs - logprobs
    return log_ratio.clamp(max=20).expm1() - log_ratio.clamp(max=20)


def limited_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """``k3``, at most 10 nats: what a reward can bear (the limit of NeMo-RL and verl). Any shape."""
    return k3(logprobs, ref_logprobs).clamp(max=10)


ESTIMATORS = {"k1": k1, "k2": k2, "k3": limited_k3}  # the KL of a token in the reward, by the name of the setting


def subtract_missing_eos_penalty(rewards: Tensor, mask: Tensor, ended: Tensor, penalty: float) -> Tensor:
    """``rewards`` less ``penalty`` on the last token of each response that has not ended. (B, T), (B, T), (B,)."""
    return rewards - on_last_token(penalty * (~ended).to(rewards.dtype), mask)


def penalized_rewards(rewards: Tensor, kl: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """r_t - kl_coef * KL_t on the tokens that the policy chose, 0 elsewhere. All (B, T).

    Ziegler et al. 2019 (arXiv:1909.08593) eq. 2, written per token. The KL is a number here: no gradient passes.

    Raises:
        ValueError: the shapes differ.
    """
    if not rewards.shape == kl.shape == mask.shape:
        raise ValueError(
            f"rewards {tuple(rewards.shape)}, kl {tuple(kl.shape)}, mask {tuple(mask.shape)} must be alike"
        )
    return (rewards - kl_coef * kl.detach()).masked_fill(~mask, 0)


def on_last_token(scores: Tensor, mask: Tensor) -> Tensor:
    """Each score on the last token that the policy chose, 0 elsewhere. (B,), (B, T) -> (B, T).

    Raises:
        ValueError: a row of ``mask`` has no True position, or there is another number of scores than of rows.
    """
    if scores.shape != mask.shape[:1]:
        raise ValueError(f"{tuple(scores.shape)} scores for a mask of {tuple(mask.shape)}")
    rewards = scores.new_zeros(mask.shape)
    return rewards.scatter(1, last_true(mask).unsqueeze(1), scores.unsqueeze(1))
