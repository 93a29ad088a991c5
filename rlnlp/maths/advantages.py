"""Baselines and advantages, per response or per token.

Per response: (B,) in, (B,) out; the samples of a prompt are adjacent rows. Per token: (B, T).
"""

import torch
from torch import Tensor

from rlnlp.maths.shapes import same_shape


def leave_one_out(returns: Tensor, group: int) -> Tensor:
    """The baseline of each sample: the mean return of the other samples of its prompt.

    Kool et al. 2019 ("Buy 4 REINFORCE samples, get a baseline for free!"); Ahmadian et al. 2024 (arXiv:2402.14740).

    Raises:
        ValueError: ``group`` is less than 2, or does not divide the batch.
    """
    if group < 2:
        raise ValueError(f"leave_one_out needs 2 or more samples per prompt, got {group}")
    r = groups(returns, group)
    others = (r.sum(1, keepdim=True) - r) / (group - 1)
    return r.where(equal_groups(returns, group).unsqueeze(1), others).reshape(-1)  # advantages of 0


def divide_by_group_std(advantages: Tensor, returns: Tensor, group: int) -> Tensor:
    """``advantages`` divided by the standard deviation of the returns of their group: a prompt's samples, or the batch.

    With the group's mean as the baseline this is the advantage of Shao et al. 2024 (arXiv:2402.03300, section
    4.1.2). The expected gradient is then no longer that of the expected return: prompts whose samples hardly differ
    weigh as much as the others. The standard deviation is that of the population (no correction); a group of equal
    returns has advantages of exactly 0.

    Raises:
        ValueError: ``group`` does not divide the batch, or the shapes differ.
    """
    same_shape(advantages=advantages, returns=returns)
    std = groups(returns, group).std(1, correction=0, keepdim=True)
    normalized = groups(advantages, group) / std.clamp(min=torch.finfo(returns.dtype).tiny)
    return normalized.masked_fill(equal_groups(returns, group).unsqueeze(1), 0).reshape(-1)


def equal_groups(returns: Tensor, group: int) -> Tensor:
    """True where all samples of a prompt have the same return, up to rounding. (B,) -> (B / group,) bool.

    A tolerance instead of an epsilon in a denominator: 64 copies of 0.7 have a standard deviation of 6e-8, not 0.
    """
    r = groups(returns, group)
    spread = r.amax(1) - r.amin(1)
    return spread <= 1e-6 * r.abs().amax(1)


def groups(x: Tensor, group: int) -> Tensor:
    """One row per prompt. (B,) -> (B / group, group).

    Raises:
        ValueError: ``group`` does not divide the batch.
    """
    if group < 1 or x.shape[0] % group:
        raise ValueError(f"{x.shape[0]} samples cannot be split into groups of {group}")
    return x.view(-1, group)


def generalized_advantages(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """GAE of every token that the policy chose, 0 elsewhere. All (B, T); ``values`` of the state before each token.

    Schulman et al. 2016 (arXiv:1506.02438) eq. 16: A_t = sum_l (gamma lam)^l delta_{t+l}, with delta_t = r_t + gamma
    V(s_{t+1}) - V(s_t). The next state is that of the next True position, whatever is between them; after the last
    one the value is 0. The returns that the critic is trained on are A + V, before any whitening.

    Raises:
        ValueError: the shapes differ.
    """
    same_shape(rewards=rewards, values=values, mask=mask)
    advantages = torch.zeros_like(values)
    next_value = next_advantage = torch.zeros_like(values[:, 0])
    for t in reversed(range(mask.shape[1])):
        chosen, value = mask[:, t], values[:, t]
        delta = rewards[:, t] + gamma * next_value - value
        advantage = delta + gamma * lam * next_advantage
        next_value, next_advantage = value.where(chosen, next_value), advantage.where(chosen, next_advantage)
        advantages[:, t] = advantage.masked_fill(~chosen, 0)
    return advantages
