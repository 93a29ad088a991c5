"""How rows become batches: padding, order, micro-batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import chain, groupby
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


def length_sorted_rows(rollout: Rollout, size: int, together: bool = False) -> tuple[Tensor, ...]:
    """Row numbers of a rollout, at most ``size`` at a time, rows of similar length together: little padding.

    ``together``: responses to one prompt are not torn apart, unless they are more than ``size``.
    """
    lengths = rollout.attention.sum(1)
    if not together:
        order: Tensor = lengths.argsort(stable=True)
        return torch.split(order, size)
    group = groups_of(rollout.prompts)
    of_each = lengths.tolist()
    longest = [0] * (max(group) + 1)
    for number, length in zip(group, of_each, strict=True):
        longest[number] = max(longest[number], length)
    rows = sorted(range(len(group)), key=lambda i: (longest[group[i]], group[i], of_each[i]))
    pieces = [
        own[i : i + size]
        for own in (list(members) for _, members in groupby(rows, key=group.__getitem__))
        for i in range(0, len(own), size)
    ]
    parts = parts_at_once([(len(piece), longest[group[piece[0]]]) for piece in pieces], size)
    return tuple(torch.tensor([*chain(*pieces[part])], device=lengths.device) for part in parts)


def groups_of(prompts: Prompts) -> list[int]:
    """The number of each row's prompt, equal for equal ones, counted as they come."""
    rows = prompts.tokens.masked_fill(~prompts.mask, -1).tolist()
    numbers: dict[tuple[int, ...], int] = {}
    return [numbers.setdefault(tuple(row), len(numbers)) for row in rows]


def micro_batches(batch: Batch, rollout: Rollout, size: int, together: bool = False) -> Iterator[Batch]:
    """``batch`` at most ``size`` responses of its rollout at a time, sorted by length; itself if that is all of it.

    ``together`` is as in ``length_sorted_rows``.
    """
    if len(rollout.mask) <= size:
        yield batch
    else:
        yield from (take(batch, rows) for rows in length_sorted_rows(rollout, size, together))


def restore_row_order(parts: list[Tensor], rows: tuple[Tensor, ...]) -> Tensor:
    """The parts, one for each of ``rows``, as one tensor in the order of the row numbers."""
    return torch.cat(parts)[torch.cat(rows).argsort()]


def forward_in_micro_batches(
    forward: Callable[[Rollout], Output], rollout: Rollout, size: int, together: bool = False
) -> Output:
    """``forward`` of ``rollout``, ``size`` responses at a time without a gradient; as it is if that is all of it.

    ``together`` is as in ``length_sorted_rows``.
    """
    if len(rollout.mask) <= size:
        return forward(rollout)
    rows = length_sorted_rows(rollout, size, together)
    with torch.no_grad():
        outputs = [forward(take(rollout, part)) for part in rows]
    names = [f.name for f in fields(outputs[0])]
    return type(outputs[0])(**{n: restore_row_order([vars(o)[n] for o in outputs], rows) for n in names})
