"""Heads of a reward model: one number from what a trunk makes of a text."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

DROPOUT = 0.1  # of the mlp, while it is fitted
HIDDEN = (256, 128)  # of the mlp


class LinearHead(nn.Module):
    """One number from the hidden state of a text's last token. Its bias starts at 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, features: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """(B, D) -> (B,); nothing is drawn from ``rng``."""
        scores: Tensor = self.linear(features.to(self.linear.weight.dtype)).squeeze(-1)
        return scores

    @torch.no_grad()
    def start(self, rng: np.random.Generator) -> None:
        """Weights from N(0, 1 / (D + 1)), as Ziegler et al. 2019 (arXiv:1909.08593), section 2, start it."""
        _fill(self.linear.weight, rng.normal(0, 1 / math.sqrt(self.linear.in_features + 1), self.linear.in_features))
        self.linear.bias.zero_()


class MlpHead(nn.Module):
    """One number from the mean of a text's hidden states, by two hidden layers of rectified units."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers: Any = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise((width, *HIDDEN, 1)))

    def forward(self, features: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """(B, D) -> (B,); with ``rng``, dropout of the hidden units is drawn from it.

        All numbers of a text are drawn together, so that those of a batch are the same in any micro-batches.
        """
        hidden = features.to(self.layers[0].weight.dtype)
        drawn = None if rng is None else torch.from_numpy(rng.random((len(hidden), sum(HIDDEN)))).to(hidden.device)
        masks = [None] * len(HIDDEN) if drawn is None else (drawn >= DROPOUT).split(HIDDEN, dim=1)
        for layer, kept in zip(self.layers[:-1], masks, strict=True):
            hidden = layer(hidden).relu()
            hidden = hidden if kept is None else hidden * kept / (1 - DROPOUT)
        scores: Tensor = self.layers[-1](hidden).squeeze(-1)
        return scores

    @torch.no_grad()
    def start(self, rng: np.random.Generator) -> None:
        """Weights and biases uniform within one over the square root of the number of inputs, as torch's layers."""
        for layer in self.layers:
            reach = 1 / math.sqrt(layer.in_features)
            for weight in (layer.weight, layer.bias):
                _fill(weight, rng.uniform(-reach, reach, weight.numel()))


def _fill(weight: Tensor, values: np.ndarray) -> None:
    weight.copy_(torch.from_numpy(values).view_as(weight))


Head = LinearHead | MlpHead
HEADS: dict[str, type[LinearHead] | type[MlpHead]] = {"linear": LinearHead, "mlp": MlpHead}


def new_head(name: str, width: int) -> Head:
    """A head by its name, for vectors of ``width``."""
    return HEADS[name](width)
