"""The reward of each token: the score of the response, its penalties, and the KL to the reference."""

from torch import Tensor

from rlnlp.maths.masked import last_true
from rlnlp.maths.shapes import same_shape


def subtract_missing_eos_penalty(rewards: Tensor, mask: Tensor, ended: Tensor, penalty: float) -> Tensor:
    """``rewards`` minus ``penalty`` on the last token of each response without an end token. (B, T), (B, T), (B,)."""
    return rewards - on_last_token(penalty * (~ended).to(rewards.dtype), mask)


def penalized_rewards(rewards: Tensor, kl: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """r_t - kl_coef * KL_t on the tokens that the policy chose, 0 elsewhere. All (B, T).

    Ziegler et al. 2019 (arXiv:1909.08593) eq. 2, written per token. No gradient passes through the KL.

    Raises:
        ValueError: the shapes differ.
    """
    same_shape(rewards=rewards, kl=kl, mask=mask)
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
