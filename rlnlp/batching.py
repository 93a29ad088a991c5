"""How rows become batches: padding, order, micro-batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import groupby
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


def length_sorted_rows(
    rollout: Rollout, size: int, together: bool = False, tokens: int | None = None
) -> tuple[Tensor, ...]:
    """Row numbers of a rollout, cut into parts, rows of similar length together: little padding.

    A part has at most ``size`` rows, and at most ``tokens`` tokens with padding, None for any; a row that has more is a
    part of its own. ``together``: responses to one prompt are not torn apart, unless they are more than that.
    """
    width, lengths = rollout.prompts.mask.shape[1], rollout.attention.sum(1)
    prompts = rollout.prompts.mask.sum(1).tolist()
    texts = list(zip(prompts, rollout.attention[:, width:].sum(1).tolist(), strict=True))
    single = ([row] for row in lengths.argsort(stable=True).tolist())
    pieces = _pieces(groups_of(rollout.prompts), texts, size, tokens) if together else single
    return tuple(torch.tensor(part, device=lengths.device) for part in _parts(pieces, texts, size, tokens))


def _pieces(group: list[int], texts: list[tuple[int, int]], size: int, tokens: int | None) -> Iterator[list[int]]:
    """The rows of each group in pieces that fit a part; ``texts`` are the tokens of each prompt and response."""
    whole = [prompt + response for prompt, response in texts]
    longest = [0] * (max(group) + 1)
    for number, length in zip(group, whole, strict=True):
        longest[number] = max(longest[number], length)
    rows = sorted(range(len(group)), key=lambda i: (longest[group[i]], group[i], whole[i]))
    for number, members in groupby(rows, key=group.__getitem__):
        own = list(members)
        most = size if tokens is None else min(size, max(1, tokens // longest[number]))
        yield from (own[i : i + most] for i in range(0, len(own), most))


def _parts(
    pieces: Iterable[list[int]], texts: list[tuple[int, int]], size: int, tokens: int | None
) -> Iterator[list[int]]:
    """The pieces in their order, as many to a part as fit it."""
    part: list[int] = []
    prompt = response = 0
    for piece in pieces:
        widest = max(prompt, *(texts[row][0] for row in piece)), max(response, *(texts[row][1] for row in piece))
        count = len(part) + len(piece)
        if part and (count > size or (tokens is not None and count * sum(widest) > tokens)):
            yield part
            part, widest = [], (max(texts[row][0] for row in piece), max(texts[row][1] for row in piece))
        part, (prompt, response) = part + piece, widest
    if part:
        yield part


def groups_of(prompts: Prompts) -> list[int]:
    """The number of each row's prompt, equal for equal ones, counted as they come."""
    rows = prompts.tokens.masked_fill(~prompts.mask, -1).tolist()
    numbers: dict[tuple[int, ...], int] = {}
    return [numbers.setdefault(tuple(row), len(numbers)) for row in rows]


def micro_batches(
    batch: Batch, rollout: Rollout, size: int, together: bool = False, tokens: int | None = None
) -> Iterator[Batch]:
    """``batch`` in parts by the length of its rollout's responses; itself if all of it fits one.

    ``size``, ``together`` and ``tokens`` are as in ``length_sorted_rows``.
    """
    if _fits(rollout, size, tokens):
        yield batch
    else:
        yield from (take(batch, rows) for rows in length_sorted_rows(rollout, size, together, tokens))


def _fits(rollout: Rollout, size: int, tokens: int | None) -> bool:
    return len(rollout.mask) <= size and (tokens is None or rollout.attention.numel() <= tokens)


def restore_row_order(parts: list[Tensor], rows: tuple[Tensor, ...]) -> Tensor:
    """The parts, one for each of ``rows``, as one tensor in the order of the row numbers."""
    return torch.cat(parts)[torch.cat(rows).argsort()]


def forward_in_micro_batches(
    forward: Callable[[Rollout], Output], rollout: Rollout, size: int, together: bool = False, tokens: int | None = None
) -> Output:
    """``forward`` of ``rollout``, in parts without a gradient; as it is if all of it fits one.

    ``size``, ``together`` and ``tokens`` are as in ``length_sorted_rows``.
    """
    if _fits(rollout, size, tokens):
        return forward(rollout)
    rows = length_sorted_rows(rollout, size, together, tokens)
    with torch.no_grad():
        outputs = [forward(take(rollout, part)) for part in rows]
    names = [f.name for f in fields(outputs[0])]
    return type(outputs[0])(**{n: restore_row_order([vars(o)[n] for o in outputs], rows) for n in names})
