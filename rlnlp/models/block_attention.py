"""Attention in blocks of queries: its memory while learning grows with the length of a text, not with its square.

Plain attention keeps, for the backward pass, a weight for each two tokens of a text, layer and head. Here a block of
queries is attended with at a time, to what is before its end, and the backward pass computes its weights again: what is
kept is queries, keys and values. What is after a block is never computed, so that this costs little, or less than
nothing: about as many products as in plain attention, which computes all and hides a half.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

BLOCK = 128  # queries at once
UNKNOWN = ("softcap", "s_aux", "position_bias")  # what some models do to their scores, and this does not


def attend(query: Tensor, key: Tensor, value: Tensor, sees: Tensor) -> Tensor:
    """What scaled queries read: (R, K, H, N, D), (R, K, L, D) twice, (R, 1, 1, N, L) bool -> (R, K, H, N, D).

    K heads of keys, each read by H of queries.
    """
    scores = (query.flatten(2, 3) @ key.transpose(2, 3)).view(*query.shape[:4], -1)
    return (masked_weights(scores, sees, value).flatten(2, 3) @ value).view(*query.shape[:4], -1)


def causal(query: Tensor, key: Tensor, value: Tensor, real: Tensor, block: int | None) -> Tensor:
    """The same of texts of which a token sees what is before it and ``real`` (R, L) bool, ``block`` queries at once."""
    length = query.shape[3]

    def part(queries: Tensor, start: int, keys: Tensor, values: Tensor) -> Tensor:
        keys, values = keys.contiguous(), values.contiguous()  # or the products would, more slowly
        size, end = queries.shape[3], keys.shape[2]
        before = torch.ones(size, end, dtype=torch.bool, device=real.device).tril(start)
        return attend(queries, keys, values, before & real[:, None, None, None, :end])

    step = length if block is None else even(length, block)
    parts = []
    for start in range(0, length, step):
        end = min(length, start + step)
        parts.append(kept(block, part, query[:, :, :, start:end], start, key[:, :, :end], value[:, :, :end]))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=3)


def even(length: int, most: int) -> int:
    """The size of parts of at most ``most``, no one much smaller than the others."""
    return -(-length // -(-length // most))


def kept(block: int | None, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """``function`` of its arguments; in blocks nothing but these is kept for the backward pass."""
    if block is None or not torch.is_grad_enabled():
        return function(*arguments)
    found: Tensor = torch.utils.checkpoint.checkpoint(
        function, *arguments, use_reentrant=False, preserve_rng_state=False
    )  # fmt: skip
    return found


def masked_weights(scores: Tensor, sees: Tensor, value: Tensor) -> Tensor:
    """The weights of what ``sees`` is True for, in the precision of ``value``; ``scores`` are spent."""
    hidden = scores.masked_fill_(~sees, torch.finfo(scores.dtype).min)
    return hidden.softmax(-1, dtype=torch.float32).to(value.dtype)


def block_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, scaling: float | None = None,
    block: int | None = BLOCK, **more: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """As an attention function of transformers, causal: (B, H, L, D) -> (B, L, H, D).

    ``attention_mask`` (B, 1, 1, L) bool says which tokens are real.

    Raises:
        NotImplementedError: the model's attention is of another kind.
    """
    check_known(more)
    shared = query.shape[1] // key.shape[1]
    query = (query * scale_of(query, scaling)).unflatten(1, (-1, shared))
    read = causal(query, key, value, attention_mask[:, 0, 0], block)
    return read.flatten(1, 2).transpose(1, 2), None


def scale_of(query: Tensor, scaling: float | None) -> float:
    """What scores are scaled by."""
    return float(query.shape[-1]) ** -0.5 if scaling is None else scaling


def check_known(more: dict[str, Any]) -> None:
    """Check that a model passes nothing that changes its scores.

    Raises:
        NotImplementedError: it does.
    """
    if other := [name for name in UNKNOWN if more.get(name) is not None]:
        raise NotImplementedError(f"attention with {other[0]}")
