"""How rows become batches: padding, order, micro-batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from rlnlp.types import PolicyOutput, Prompts, Rollout, take

Batch = TypeVar("Batch")
Output = TypeVar("Output", bound=PolicyOutput)


class AtOnce(NamedTuple):
    """What goes through a model at once: at most ``texts``, and at most ``tokens`` with padding, None for any."""

    texts: int
    tokens: int | None = None


def parts_at_once(sizes: Iterable[tuple[int, int]], texts: int, tokens: int | None = None) -> Iterator[slice]:
    """Items in their order, cut into parts of at most ``texts`` texts and ``tokens`` tokens, padding included.

    ``sizes`` are the texts of each item and the tokens of its longest one. An item that is more is a part of its own.
    """
    first, count, longest, i = 0, 0, 0, 0
    for i, (more, length) in enumerate(sizes):
        whole, widest = count + more, max(longest, length)
        if i > first and (whole > texts or (tokens is not None and whole * widest > tokens)):
            yield slice(first, i)
            first, whole, widest = i, more, length
        count, longest = whole, widest
    if count:
        yield slice(first, i + 1)


def left_padded(ids: Sequence[list[int]], rows: Sequence[int], pad: int, device: torch.device) -> Prompts:
    """``ids`` as prompts that end at the same position, (B, P); ``rows`` are their numbers in the data."""
    width = max(map(len, ids))
    tokens = torch.tensor([[pad] * (width - len(i)) + i for i in ids], device=device)
    mask = torch.tensor([[False] * (width - len(i)) + [True] * len(i) for i in ids], device=device)
    return Prompts(tokens, mask, torch.tensor(list(rows), device=device))


def right_padded(ids: Sequence[list[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """``ids`` as rows that begin at the same position, and where they are real: both (B, T)."""
    lengths = torch.tensor([len(row) for row in ids])
    width = int(lengths.max())
    tokens = torch.tensor([row + [pad] * (width - len(row)) for row in ids])
    return tokens.to(device), (torch.arange(width) < lengths.unsqueeze(1)).to(device)


def pad_to(x: Tensor, width: int) -> Tensor:
    """``x`` (B, t) with zeros up to ``width`` columns, (B, width)."""
    return nn.functional.pad(x, (0, width - x.shape[1]))


def trim_padding(rollout: Rollout) -> Rollout:
    """``rollout`` without the columns at both ends in which no row has a token."""
    width = rollout.prompts.mask.shape[1]
    first = int(rollout.prompts.mask.any(0).long().argmax()) if width else 0
    last = int(rollout.attention[:, width:].any(0).nonzero()[-1]) + 1
    prompts = Prompts(rollout.prompts.tokens[:, first:], rollout.prompts.mask[:, first:], rollout.prompts.rows)
    attention = rollout.attention[:, first : width + last]
    return Rollout(prompts, rollout.responses[:, :last], rollout.mask[:, :last], attention, rollout.ended)


def chunks(batch: Batch, count: int, size: int) -> Iterator[Batch]:
    """The ``count`` rows of ``batch`` in order, at most ``size`` at a time."""
    for rows in torch.arange(count).split(size):
        yield take(batch, rows)


def length_sorted_rows(rollout: Rollout, size: int) -> tuple[Tensor, ...]:
    """Row numbers of a rollout, at most ``size`` at a time, rows of similar length together: little padding."""
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


def forward_in_micro_batches(forward: Callable[[Rollout], Output], rollout: Rollout, size: int) -> Output:
    """``forward`` of ``rollout``, ``size`` responses at a time without a gradient; as it is if that is all of it."""
    if len(rollout.mask) <= size:
        return forward(rollout)
    rows = length_sorted_rows(rollout, size)
    with torch.no_grad():
        outputs = [forward(take(rollout, part)) for part in rows]
    names = [f.name for f in fields(outputs[0])]
    return type(outputs[0])(**{n: restore_row_order([vars(o)[n] for o in outputs], rows) for n in names})
