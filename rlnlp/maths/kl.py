"""KL(policy || reference) from samples of the policy, and the rewards that are penalised with it."""

from torch import Tensor

from rlnlp.maths.masked import last_true


def k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Log pi - log ref of the taken tokens, nats: unbiased for the KL, may be negative. Any shape.

    Schulman, "Approximating KL divergence" (2020), names it k1.
    """
    return logprobs - ref_logprobs


def penalised_rewards(rewards: Tensor, kl: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
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
        ValueError: a row of ``mask`` has no True place, or there is another number of scores than of rows.
    """
    if scores.shape != mask.shape[:1]:
        raise ValueError(f"{tuple(scores.shape)} scores for a mask of {tuple(mask.shape)}")
    rewards = scores.new_zeros(mask.shape)
    return rewards.scatter(1, last_true(mask).unsqueeze(1), scores.unsqueeze(1))
