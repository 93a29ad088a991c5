"""How much better than expected a response was. (B,) in, (B,) out; the samples of a prompt stand side by side."""

import torch
from torch import Tensor


def leave_one_out(returns: Tensor, group: int) -> Tensor:
    """The baseline of each sample: the mean return of the other samples of its prompt.

    Kool et al. 2019 ("Buy 4 REINFORCE samples, get a baseline for free!"); Ahmadian et al. 2024 (arXiv:2402.14740).

    Raises:
        ValueError: ``group`` is below 2, or does not divide the batch.
    """
    if group < 2:
        raise ValueError(f"leave_one_out needs 2 or more samples per prompt, got {group}")
    r = groups(returns, group)
    return ((r.sum(1, keepdim=True) - r) / (group - 1)).reshape(-1)


def over_deviation(advantages: Tensor, returns: Tensor, group: int) -> Tensor:
    """``advantages`` divided by the standard deviation of the returns of their group: a prompt's samples, or all.

    With the group's mean as the baseline this is the advantage of Shao et al. 2024 (arXiv:2402.03300, section
    4.1.2). The expected gradient is then no longer that of the expected return: prompts whose samples hardly differ
    weigh as much as the others. Population deviation; a group of equal returns has advantages of exactly 0.

    Raises:
        ValueError: ``group`` does not divide the batch, or the shapes differ.
    """
    if advantages.shape != returns.shape:
        raise ValueError(f"advantages {tuple(advantages.shape)} do not fit returns {tuple(returns.shape)}")
    deviation = groups(returns, group).std(1, correction=0, keepdim=True)
    scaled = groups(advantages, group) / deviation.clamp(min=torch.finfo(returns.dtype).tiny)
    return scaled.masked_fill(equal_groups(returns, group).unsqueeze(1), 0).reshape(-1)


def equal_groups(returns: Tensor, group: int) -> Tensor:
    """True where all samples of a prompt have the same return, up to rounding. (B,) -> (B / group,) bool.

    A tolerance and no epsilon in a denominator: 64 copies of 0.7 have a standard deviation of 6e-8, not 0.
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
