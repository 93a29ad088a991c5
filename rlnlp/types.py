"""The data that flows: Prompts -> Rollout -> Scores -> the update.

Shapes: B sequences, P prompt positions (left-padded), T response positions (right-padded). Texts and columns of the
data stay outside the tensors; ``rows`` finds them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

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
    """What a rollout is worth. ``rewards`` (B, T), before the KL penalty; ``terms`` name -> (B,), unweighted."""

    rewards: Tensor
    terms: dict[str, Tensor]

    def __post_init__(self) -> None:
        """Refuse terms that do not fit.

        Raises:
            ValueError: shapes differ.
        """
        for name, term in self.terms.items():
            same_shape(**{f"term {name}": term, "rewards of a row": self.rewards[:, 0]})

    @property
    def score(self) -> Tensor:
        """One number per response, (B,)."""
        return self.rewards.sum(1)


@dataclass(frozen=True)
class PolicyOutput:
    """What a policy says of given responses: ``logprobs`` and ``entropy``, (B, T), nats, 0 where the mask is False."""

    logprobs: Tensor
    entropy: Tensor


@dataclass(frozen=True)
class ActorCriticOutput(PolicyOutput):
    """The same from a policy with a value head: ``values`` (B, T) of the state before each token."""

    values: Tensor


@dataclass(frozen=True)
class Experience:
    """A rollout make_experience: all (B, T), nats and units of the reward, 0 where the mask is False.

    ``old_logprobs`` and ``old_values`` are of the policy and critic that stood when it was drawn.
    """

    rollout: Rollout
    old_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor

    def __post_init__(self) -> None:
        """Refuse parts that do not fit.

        Raises:
            ValueError: shapes differ.
        """
        same_shape(
            mask=self.rollout.mask, old_logprobs=self.old_logprobs, old_values=self.old_values,
            advantages=self.advantages, returns=self.returns,
        )  # fmt: skip


@dataclass(frozen=True)
class Texts:
    """A rollout as people read it, one entry per response; ``columns`` are the further fields of the data."""

    prompts: list[str]
    completions: list[str]
    references: list[str | None]
    columns: dict[str, list[Any]]


def same_shape(**tensors: Tensor) -> None:
    """Let nothing broadcast by mistake.

    Raises:
        ValueError: the tensors do not all have one shape.
    """
    if len({t.shape for t in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in tensors.items())
        raise ValueError(f"shapes differ: {shapes}")


def batch_size(**tensors: Tensor) -> int:
    """The number of rows of a tensor that must be a matrix.

    Raises:
        ValueError: it has another number of dimensions than two.
    """
    ((name, tensor),) = tensors.items()
    if tensor.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, got shape {tuple(tensor.shape)}")
    return len(tensor)


def check_vectors(count: int, **tensors: Tensor) -> None:
    """Let every tensor hold one entry per row.

    Raises:
        ValueError: one has another shape than (count,).
    """
    for name, tensor in tensors.items():
        if tensor.shape != (count,):
            raise ValueError(f"{name} must have shape ({count},), got {tuple(tensor.shape)}")


def take(batch: Batch, rows: Tensor) -> Batch:
    """The given rows of every tensor in a (nested) dataclass of tensors."""
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}  # type: ignore[arg-type]
    return type(batch)(**{name: _rows(value, rows) for name, value in values.items()})


def chunks(batch: Batch, count: int, size: int) -> Iterator[Batch]:
    """The ``count`` rows of ``batch`` in order, at most ``size`` at a time."""
    for rows in torch.arange(count).split(size):
        yield take(batch, rows)


def length_sorted_rows(rollout: Rollout, size: int) -> tuple[Tensor, ...]:
    """Row numbers of a rollout, at most ``size`` at a time, rows of like length together: little is padding."""
    order: Tensor = rollout.attention.sum(1).argsort(stable=True)
    return torch.split(order, size)


def micro_batches(batch: Batch, rollout: Rollout, size: int) -> Iterator[Batch]:
    """``batch`` at most ``size`` responses of its rollout at a time, sorted by length; itself if that is all of it."""
    if len(rollout.mask) <= size:
        yield batch
    else:
        yield from (take(batch, rows) for rows in length_sorted_rows(rollout, size))


def restore_row_order(parts: list[Tensor], rows: tuple[Tensor, ...]) -> Tensor:
    """The parts, one for each of ``rows``, as one tensor in the order of the row numbers."""
    return torch.cat(parts)[torch.cat(rows).argsort()]


def trim_padding(rollout: Rollout) -> Rollout:
    """``rollout`` without the positions at both ends at which no row has a token."""
    width = rollout.prompts.mask.shape[1]
    first = int(rollout.prompts.mask.any(0).long().argmax()) if width else 0
    last = int(rollout.attention[:, width:].any(0).nonzero()[-1]) + 1
    asked = Prompts(rollout.prompts.tokens[:, first:], rollout.prompts.mask[:, first:], rollout.prompts.rows)
    attention = rollout.attention[:, first : width + last]
    return Rollout(asked, rollout.responses[:, :last], rollout.mask[:, :last], attention, rollout.ended)


def _rows(value: Any, rows: Tensor) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return take(value, rows)
    return value[rows.to(value.device)]
