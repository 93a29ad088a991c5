"""The data that flows: Prompts -> Rollout -> Scores -> the update.

Shapes: B sequences, P prompt positions (left-padded), T response positions (right-padded). Texts and columns of the
data stay outside the tensors; ``rows`` finds them.
"""

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from rlnlp.maths.shapes import batch_size, check_vectors, same_shape

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Prompts:
    """What the policy is asked. ``tokens`` (B, P) int64; ``mask`` (B, P) bool, True = real; ``rows`` (B,) int64."""

    tokens: Tensor
    mask: Tensor
    rows: Tensor

    def __post_init__(self) -> None:
        """Refuse parts that do not fit.

        Raises:
            ValueError: shapes differ.
        """
        same_shape(tokens=self.tokens, mask=self.mask)
        check_vectors(batch_size(tokens=self.tokens), rows=self.rows)

    def repeat(self, times: int) -> "Prompts":
        """Each prompt ``times`` times, side by side. (B, P) -> (B * times, P)."""
        rows = torch.arange(len(self.rows), device=self.rows.device).repeat_interleave(times)
        return take(self, rows)


@dataclass(frozen=True)
class Rollout:
    """Prompts with one response each.

    ``responses`` (B, T) int64. ``mask`` (B, T) bool: the tokens that the policy chose, end token included; it may
    have holes that are read but not chosen (a user's turn). ``attention`` (B, P + T) bool: all that is real, padding
    only at the two ends. ``ended`` (B,) bool: the policy chose the end token.
    """

    prompts: Prompts
    responses: Tensor
    mask: Tensor
    attention: Tensor
    ended: Tensor

    def __post_init__(self) -> None:
        """Refuse parts that do not fit.

        Raises:
            ValueError: shapes differ.
        """
        same_shape(responses=self.responses, mask=self.mask)
        check_vectors(batch_size(responses=self.responses), prompts=self.prompts.rows, ended=self.ended)
        same_shape(attention=self.attention, tokens=self.tokens)

    @property
    def tokens(self) -> Tensor:
        """Prompt and response side by side, (B, P + T)."""
        return torch.cat([self.prompts.tokens, self.responses], dim=1)


@dataclass(frozen=True)
class Scores:
    """The rewards of a rollout: ``rewards`` (B, T), before the KL penalty; ``terms`` name -> (B,), unweighted.

    ``given`` name -> (B,) bool, for the terms that abstain: False where they do.
    """

    rewards: Tensor
    terms: dict[str, Tensor]
    given: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse terms that do not fit.

        Raises:
            ValueError: shapes differ.
        """
        for name, term in (*self.terms.items(), *self.given.items()):
            same_shape(**{f"term {name}": term, "rewards of a row": self.rewards[:, 0]})

    @property
    def score(self) -> Tensor:
        """One number per response, (B,)."""
        return self.rewards.sum(1)


@dataclass(frozen=True)
class PolicyOutput:
    """A policy's forward pass: ``logprobs`` of the responses, ``entropy``: (B, T), nats, 0 where the mask is False."""

    logprobs: Tensor
    entropy: Tensor

    def detach(self) -> Self:
        """The same numbers without their graph."""
        return replace(self, **{f.name: getattr(self, f.name).detach() for f in fields(self)})


@dataclass(frozen=True)
class ActorCriticOutput(PolicyOutput):
    """The same with a critic: ``values`` (B, T) of the state before each token."""

    values: Tensor


@dataclass(frozen=True)
class Experience:
    """A rollout to learn from: all (B, T), nats and units of the reward, 0 where the mask is False.

    ``old_logprobs`` are of the policy that the rollout was drawn from.
    """

    rollout: Rollout
    old_logprobs: Tensor
    advantages: Tensor

    def __post_init__(self) -> None:
        """Refuse parts that do not fit.

        Raises:
            ValueError: shapes differ.
        """
        same_shape(mask=self.rollout.mask, old_logprobs=self.old_logprobs, advantages=self.advantages)


@dataclass(frozen=True)
class ActorCriticExperience(Experience):
    """The same for a critic to learn from too; ``old_values`` are of the critic when the rollout was drawn."""

    old_values: Tensor
    returns: Tensor

    def __post_init__(self) -> None:
        """Refuse parts that do not fit.

        Raises:
            ValueError: shapes differ.
        """
        super().__post_init__()
        same_shape(mask=self.rollout.mask, old_values=self.old_values, returns=self.returns)


@dataclass(frozen=True)
class Texts:
    """A rollout as people read it, one entry per response; ``columns`` are the further fields of the data.

    ``messages`` are each prompt and its completion as messages, the completion last; a plain prompt is a turn of the
    user. ``spoken`` is True where the prompt is a conversation.
    """

    prompts: list[str]
    completions: list[str]
    references: list[str | None]
    columns: dict[str, list[Any]]
    messages: list[list[dict[str, str]]] = field(default_factory=list)
    spoken: list[bool] = field(default_factory=list)


def take(batch: Batch, rows: Tensor) -> Batch:
    """The given rows of every tensor in a (nested) dataclass of tensors."""
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}  # type: ignore[arg-type]
    return type(batch)(**{name: _rows(value, rows) for name, value in values.items()})


def _rows(value: Any, rows: Tensor) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return take(value, rows)
    return value[rows.to(value.device)]
