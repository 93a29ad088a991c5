"""A text as one vector: what is taken of the hidden states of its tokens."""

from collections.abc import Callable

import torch
from torch import Tensor

Pool = Callable[[Tensor, Tensor], Tensor]  # hidden states (B, L, D) and where they are real (B, L) -> (B, D)


def last_token(hidden: Tensor, mask: Tensor) -> Tensor:
    """The hidden state of each text's last real token. (B, L, D), (B, L) right-padded -> (B, D)."""
    return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]


def mean_of_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean of each text's hidden states over its real tokens. (B, L, D), (B, L) -> (B, D)."""
    real = mask.unsqueeze(-1)
    return hidden.float().masked_fill(~real, 0).sum(1) / real.sum(1)


def first_token(hidden: Tensor, mask: Tensor) -> Tensor:
    """The hidden state of each text's first token. (B, L, D), (B, L) right-padded -> (B, D)."""
    return hidden[:, 0]


POOLS: dict[str, Pool] = {"linear": last_token, "mlp": mean_of_tokens}  # of a causal trunk, by the name of the head
ENCODER_POOLS = (first_token, mean_of_tokens, last_token)  # one of which an encoder's class takes
