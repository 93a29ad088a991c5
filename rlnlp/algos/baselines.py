"""What a return is compared with. A baseline that does not know the response keeps the gradient exact."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnlp.maths.advantages import leave_one_out
from rlnlp.rollout.sampling import Collect
from rlnlp.types import Prompts, Rollout, take

Baseline = Callable[[Prompts, Tensor], Tensor]  # prompts (B, P), returns (B,) -> (B,)


def no_baseline(prompts: Prompts, returns: Tensor) -> Tensor:
    """0 for each response."""
    return torch.zeros_like(returns)


def batch_mean(prompts: Prompts, returns: Tensor) -> Tensor:
    """The mean of the batch, the response itself included: the expected gradient is (n - 1) / n of the exact one."""
    return returns.mean().expand_as(returns)


def group_leave_one_out(group: int) -> Baseline:
    """The mean of the other responses to the same prompt."""
    return lambda prompts, returns: leave_one_out(returns, group)


def greedy(collect: Collect, return_of: Callable[[Rollout], Tensor], group: int) -> Baseline:
    """The return of the policy's likeliest response, token by token (Rennie et al. 2017, arXiv:1612.00563)."""

    def baseline(prompts: Prompts, returns: Tensor) -> Tensor:
        first = take(prompts, torch.arange(0, len(returns), group))
        rollout = collect(first, np.random.default_rng(0))  # the numbers are drawn, and decide nothing
        return return_of(rollout).repeat_interleave(group)

    return baseline


class MovingMean:
    """An exponential moving mean of the batches before this one, freed of its start at 0 (as Adam's moments are)."""

    def __init__(self, decay: float) -> None:
        self.decay, self.sum, self.weight = decay, 0.0, 0.0

    def __call__(self, prompts: Prompts, returns: Tensor) -> Tensor:
        """The mean of the past, 0 at first; then the batch joins it."""
        value = self.sum / self.weight if self.weight else 0.0
        self.sum = self.decay * self.sum + (1 - self.decay) * float(returns.mean())
        self.weight = self.decay * self.weight + (1 - self.decay)
        return torch.full_like(returns, value)

    def state_dict(self) -> dict[str, Any]:
        """The state, as JSON."""
        return {"sum": self.sum, "weight": self.weight}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.sum, self.weight = state["sum"], state["weight"]
