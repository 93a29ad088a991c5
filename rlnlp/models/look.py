"""A model's pass over a rollout that is first looked at and then learned from."""

from abc import ABC, abstractmethod
from dataclasses import fields, replace
from typing import Generic, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from rlnlp.types import ActorCriticOutput, PolicyOutput, Rollout

Asked = ParamSpec("Asked")
Said = TypeVar("Said", Tensor, PolicyOutput, ActorCriticOutput)


class Looked(nn.Module, ABC, Generic[Asked, Said]):
    """``read`` is the pass; after a ``look`` at a rollout its next ``forward`` is the same pass, graph and all."""

    def __init__(self) -> None:
        super().__init__()
        self.looked: list[tuple[Rollout, object, Said]] = []  # the last look, until the weights can move

    @abstractmethod
    def read(self, rollout: Rollout, *asked: Asked.args, **named: Asked.kwargs) -> Said:
        """What the model says of each response position, each (B, T)."""

    def forward(self, rollout: Rollout, *asked: Asked.args, **named: Asked.kwargs) -> Said:
        """``read``, or the look at this rollout if it was just looked at and a gradient is wanted."""
        if self.looked and torch.is_grad_enabled():
            seen, question, said = self.looked.pop()
            if seen is rollout and question == (asked, named):
                return said
        return self.read(rollout, *asked, **named)

    def look(self, rollout: Rollout, *asked: Asked.args, **named: Asked.kwargs) -> Said:
        """``read`` without a gradient; its graph waits for ``forward`` where gradients are on."""
        said = self.read(rollout, *asked, **named)
        if not torch.is_grad_enabled():
            return said
        self.looked[:] = [(rollout, (asked, named), said)]
        return detached(said)


def detached(said: Said) -> Said:
    """The same numbers without their graph."""
    if isinstance(said, PolicyOutput):
        return replace(said, **{f.name: getattr(said, f.name).detach() for f in fields(said)})
    return said.detach()
