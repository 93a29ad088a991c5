"""A text as one vector: what is taken of the hidden states of its tokens.

Pools are given hidden states one behind the other, (N, D), the places (B, S) of each text's tokens among them, and
which of these places are real, (B, S): the texts may share hidden states.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Pool = Callable[[Tensor, Tensor, Tensor], Tensor]  # (N, D), (B, S), (B, S) -> (B, D)


def last_token(hidden: Tensor, places: Tensor, real: Tensor) -> Tensor:
    """The hidden state of each text's last token. (N, D), (B, S), (B, S) -> (B, D)."""
    return hidden[places[torch.arange(len(places), device=places.device), real.sum(1) - 1]]


def first_token(hidden: Tensor, places: Tensor, real: Tensor) -> Tensor:
    """The hidden state of each text's first token. (N, D), (B, S), (B, S) -> (B, D)."""
    return hidden[places[:, 0]]


def mean_of_tokens(hidden: Tensor, places: Tensor, real: Tensor) -> Tensor:
    """The mean of each text's hidden states. (N, D), (B, S), (B, S) -> (B, D)."""
    there = real.unsqueeze(-1)
    return hidden[places].float().masked_fill(~there, 0).sum(1) / there.sum(1)


def pooled(pool: Pool, hidden: Tensor, real: Tensor) -> Tensor:
    """``pool`` of texts that are rows of their own, padded on the right. (B, L, D), (B, L) -> (B, D)."""
    return pool(hidden.flatten(0, 1), torch.arange(real.numel(), device=real.device).view_as(real), real)


POOLS: dict[str, Pool] = {"linear": last_token, "mlp": mean_of_tokens}  # of a causal trunk, by the name of the head
ENCODER_POOLS = (first_token, mean_of_tokens, last_token)  # one of which an encoder's class takes
