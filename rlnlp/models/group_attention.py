"""Attention where several responses stand behind one prompt: what nothing sees is not computed.

A row is a prompt of P tokens and C responses of S tokens each, one behind the other. A token sees the prompt and its
own response alone, so that of the (P + C S)^2 scores of a row only P^2 + C S (P + S) mean anything.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

NAME = "rlnlp_group"
UNKNOWN = ("softcap", "s_aux", "position_bias")  # what some models do to their scores, and this does not


def group_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """As an attention function of transformers: (R, H, L, D) -> (R, L, H, D), with L = P + C S.

    ``attention_mask`` (R, C, S, P + S) bool says what a token of a response sees of its prompt and of its response.

    Raises:
        NotImplementedError: the model's attention is of another kind.
    """
    check_known(more)
    rows, heads, _, width = query.shape
    _, count, size, seen = attention_mask.shape
    kept, prompt = key.shape[1], seen - size
    shared = heads // kept  # heads that read the same keys
    query = query * (width**-0.5 if scaling is None else scaling)

    asked = query[:, :, :prompt].reshape(rows, kept, shared * prompt, width)
    scores = asked @ key[:, :, :prompt].transpose(2, 3)
    weights = masked_weights(scores.view(rows, kept, shared, prompt, prompt), _within_prompt(attention_mask), value)
    of_prompt = (weights.flatten(2, 3) @ value[:, :, :prompt]).view(rows, heads, prompt, width)

    asked = query[:, :, prompt:].reshape(rows, kept, shared * count * size, width)
    before = (asked @ key[:, :, :prompt].transpose(2, 3)).view(rows, kept, shared, count, size, prompt)
    own_keys, own_values = (x[:, :, prompt:].reshape(rows, kept, 1, count, size, width) for x in (key, value))
    own = asked.view(rows, kept, shared, count, size, width) @ own_keys.transpose(4, 5)
    weights = masked_weights(torch.cat([before, own], dim=-1), attention_mask[:, None, None], value)
    of_prompts = weights[..., :prompt].reshape(rows, kept, shared * count * size, prompt) @ value[:, :, :prompt]
    of_own = weights[..., prompt:] @ own_values
    of_responses = of_prompts.view(rows, heads, count * size, width) + of_own.view(rows, heads, count * size, width)
    return torch.cat([of_prompt, of_responses], dim=2).transpose(1, 2), None


def check_known(more: Mapping[str, Any]) -> None:
    """Check that a model passes nothing that changes its scores.

    Raises:
        NotImplementedError: it does.
    """
    if other := [name for name in UNKNOWN if more.get(name) is not None]:
        raise NotImplementedError(f"attention with {other[0]}")


def _within_prompt(sees: Tensor) -> Tensor:
    """What a token of the prompt sees of it, (R, 1, 1, P, P): a response sees all that is real of it."""
    prompt = sees.shape[3] - sees.shape[2]
    before = torch.ones(prompt, prompt, dtype=torch.bool, device=sees.device).tril()
    return before & sees[:, 0, :1, None, None, :prompt]


def masked_weights(scores: Tensor, sees: Tensor, value: Tensor) -> Tensor:
    """The weights of what ``sees`` is True for, in the precision of ``value``; ``scores`` are spent."""
    hidden = scores.masked_fill_(~sees, torch.finfo(scores.dtype).min)
    return hidden.softmax(-1, dtype=torch.float32).to(value.dtype)


@contextmanager
def attending_in_groups(config: Any) -> Iterator[None]:
    """A context in which the model of this config attends so."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, group_attention)
    with switched_attention(config, NAME):
        yield


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
