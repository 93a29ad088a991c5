"""A model's pass over a rollout that is first looked at and then learned from."""

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Generic, TypeVar

import torch
from torch import nn

from rlnlp.maths.distribution import Distribution
from rlnlp.types import Evaluation, Rollout

Said = TypeVar("Said", bound=Evaluation)


class Looked(nn.Module, ABC, Generic[Said]):
    """``read`` is the pass; after a ``look`` at a rollout its next ``forward`` is the same pass, graph and all."""

    def __init__(self) -> None:
        super().__init__()
        self.looked: list[tuple[Rollout, Distribution, Said]] = []  # the last look, until the weights can move

    @abstractmethod
    def read(self, rollout: Rollout, distribution: Distribution) -> Said:
        """What the model says of each response place, each (B, T)."""

    def forward(self, rollout: Rollout, distribution: Distribution) -> Said:
        """``read``, or the look at this rollout if it was just looked at and a gradient is wanted."""
        if self.looked and torch.is_grad_enabled():
            seen, under, said = self.looked.pop()
            if seen is rollout and under == distribution:
                return said
        return self.read(rollout, distribution)

    def look(self, rollout: Rollout, distribution: Distribution) -> Said:
        """``read`` without a gradient; its graph waits for ``forward`` where gradients are on."""
        said = self.read(rollout, distribution)
        if not torch.is_grad_enabled():
            return said
        self.looked[:] = [(rollout, distribution, said)]
        return type(said)(**{f.name: getattr(said, f.name).detach() for f in fields(said)})
