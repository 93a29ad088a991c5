"""How models of transformers are called: with those arguments that a model's ``forward`` names."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rlnlp.errors import Exit, Failure

PASSED_ON = frozenset({"use_cache", "output_hidden_states"})  # what every ``**kwargs`` of transformers is for


def argument_names(model: nn.Module) -> frozenset[str]:
    """The arguments that the model's ``forward`` reads; what only its ``**kwargs`` would take may be ignored."""
    parameters = inspect.signature(model.forward).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return frozenset(parameters) | (PASSED_ON if anything else frozenset())


def named_only(names: frozenset[str], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The ``arguments`` that are among ``names``."""
    return {name: value for name, value in arguments.items() if name in names}


def positions(attention: Tensor, first: int = 0) -> Tensor:
    """Position of each real token among the real ones, ``first`` for padding: left padding must not move a prompt.

    (B, L) -> (B, L).
    """
    return (attention.long().cumsum(1) - 1).clamp(min=0) + first


def last_logits(logits: Tensor, kept: Tensor) -> Tensor:
    """``logits`` of the positions ``kept`` (T,), where the model itself gave all of them. (B, L, V) -> (B, T, V)."""
    return logits if logits.shape[1] == len(kept) else logits[:, kept]


def hidden_of(output: Any) -> Tensor:
    """The last hidden state, (B, L, D), of a model without a head, or of one with a head that was asked for them.

    Raises:
        Failure: exit 4, if the model gives none.
    """
    last, states = output.get("last_hidden_state"), output.get("hidden_states")
    found = last if last is not None else states[-1] if states else None
    if not isinstance(found, torch.Tensor) or found.ndim != 3:
        raise Failure(
            Exit.MODEL, "this model gives no hidden states for a critic\nuse algo=reinforce, or another model"
        )
    return found
