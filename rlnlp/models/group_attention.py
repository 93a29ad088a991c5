"""Attention where several responses stand behind one prompt: what nothing sees is not computed.

A row is a prompt of P tokens and C responses of S tokens each, one behind the other. A token sees the prompt and its
own response alone, so that of the (P + C S)^2 scores of a row only P^2 + C S (P + S) mean anything.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rlnlp.models.block_attention import block_attention, causal, check_known, even, kept, masked_weights, scale_of

GROUPS, BLOCKS = "rlnlp_groups", "rlnlp_blocks"


def group_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, scaling: float | None = None,
    block: int | None = None, **more: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """As an attention function of transformers: (R, H, L, D) -> (R, L, H, D), with L = P + C S.

    ``attention_mask`` (R, C, S, P + S) bool says what a token of a response sees of its prompt and of its response.
    About ``block`` queries at once, None for all.

    Raises:
        NotImplementedError: the model's attention is of another kind.
    """
    check_known(more)
    rows, heads, _, width = query.shape
    _, count, size, seen = attention_mask.shape
    heads_of_keys, prompt = key.shape[1], seen - size
    query = (query * scale_of(query, scaling)).unflatten(1, (heads_of_keys, -1))  # heads that read the same keys
    (keys, own_keys), (values, own_values) = (
        (x[:, :, :prompt], x[:, :, prompt:].reshape(rows, heads_of_keys, 1, count, size, width)) for x in (key, value)
    )

    def part(asked: Tensor, start: int, keys: Tensor, values: Tensor, own_keys: Tensor, own_values: Tensor) -> Tensor:
        own_keys, own_values = own_keys.contiguous(), own_values.contiguous()
        shape, end = asked.shape[:5], own_keys.shape[4]
        before = (asked.flatten(2, 4) @ keys.transpose(2, 3)).view(*shape, prompt)
        scores = torch.cat([before, asked @ own_keys.transpose(4, 5)], dim=-1)
        weights = masked_weights(scores, attention_mask[:, None, None, :, start:end, : prompt + end], value)
        of_prompts = weights[..., :prompt].reshape(rows, heads_of_keys, -1, prompt) @ values
        return of_prompts.view(*shape, width) + weights[..., prompt:] @ own_values

    real = attention_mask[:, 0, 0, :prompt]  # a response sees all that is real of its prompt
    of_prompt = causal(query[:, :, :, :prompt], keys, values, real, block)
    asked = query[:, :, :, prompt:].unflatten(3, (count, size))
    step = size if block is None else even(size, max(1, block // count))
    parts = []
    for start in range(0, size, step):
        own = (x[..., : start + step, :] for x in (own_keys, own_values))
        parts.append(kept(block, part, asked[..., start : start + step, :], start, keys, values, *own))
    of_responses = parts[0] if len(parts) == 1 else torch.cat(parts, dim=4)
    read = torch.cat([of_prompt.flatten(1, 2), of_responses.reshape(rows, heads, count * size, width)], dim=2)
    return read.transpose(1, 2), None


def attending(config: Any, groups: bool, block: int | None) -> AbstractContextManager[None]:
    """A context in which the model of this config attends in ``groups``, in blocks of that size, or in both."""
    if not groups and block is None:
        return nullcontext()
    from transformers import AttentionInterface

    name = f"{GROUPS if groups else BLOCKS}_{block or 0}"
    AttentionInterface.register(name, partial(group_attention if groups else block_attention, block=block))
    return switched_attention(config, name)


@contextmanager
def switched_attention(config: Any, name: str) -> Iterator[None]:
    """A context in which the model of this config attends by the function that is registered as ``name``."""
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


def attending_as_now(config: Any) -> AbstractContextManager[None]:
    """A context, entered later, in which the model of this config attends as it does now."""
    return switched_attention(config, config._attn_implementation)
