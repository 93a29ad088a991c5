"""A rollout as a model reads it: each response behind its own prompt, or those of a group behind one."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlnlp.batching import groups_of, pad_to, trim_padding
from rlnlp.models.block_attention import BLOCK
from rlnlp.models.calling import positions
from rlnlp.models.group_attention import attending
from rlnlp.models.llama_step import has_step
from rlnlp.models.recorded_step import may_be_recorded
from rlnlp.models.shared_prompt import PAYS, Size, rows_of_groups, size_of, window_of
from rlnlp.types import Rollout, take

LONG = 64  # tokens of a text from which a prompt that is kept once pays for the products that this takes
LONG_READ = 256  # tokens of a text from which the weights of attention are a large part of the memory of learning


@dataclass(frozen=True)
class Sharing:
    """How a model that can share prompts does: by its ``size``, for texts of at most ``window`` tokens.

    Texts that may have ``decoding_from`` tokens are sampled with the cache of ``decoding.py``; those that have
    ``blocks_from`` are read with the attention of ``block_attention.py``. ``own_step``: the model's tokens are
    sampled by ``llama_step.py``.
    """

    size: Size
    window: int
    own_step: bool = False
    decoding_from: int = LONG
    blocks_from: int = LONG_READ

    def decodes_in_place(self, prompt: int, new: int) -> bool:
        """True if responses of up to ``new`` tokens to prompts of ``prompt`` are long enough to grow in room of theirs.

        It depends on lengths alone.
        """
        return self.decoding_from <= prompt + new <= self.window

    def steps_alone(self, prompt: int, new: int) -> bool:
        """True if responses of up to ``new`` tokens to prompts of ``prompt`` are sampled by ``llama_step.py``."""
        return self.own_step and prompt + new <= self.window

    def block(self, prompt: int, response: int) -> int | None:
        """How many queries to attend with at once; None for all. It depends on lengths alone."""
        return BLOCK if self.blocks_from <= prompt + response <= self.window else None

    def responses_in_a_row(self, group: Sequence[int], prompt: int, response: int) -> int:
        """How many responses of ``response`` tokens to stand behind a prompt of ``prompt``; 1 where it does not pay.

        ``group`` has the prompt of each response. The count with the least work, of 1, 2, 4 and so on, if that is at
        most ``PAYS`` of the work with one. It depends on lengths and sizes alone: a run can be repeated anywhere.
        """
        best, least = 1, PAYS * self.size.work(len(group), prompt + response)
        if prompt + response > self.window:
            return best
        most, count = max(group.count(g) for g in set(group)), 1
        while count < most:
            count = min(2 * count, most)
            rows = len(rows_of_groups(group, count))
            work = rows * self.size.group_work(prompt, count, response)
            if work <= least:
                best, least = count, work
        return best


@dataclass(frozen=True)
class Reading:
    """R rows of L tokens: ``tokens`` and ``positions`` (R, L) int64, ``attention`` as the model takes it.

    ``before`` (K,) are the columns that the response tokens are predicted from. ``rollout`` has the responses in the
    order of the rows, ``order`` (B,) where each one of the original is among them; None if it is the same. ``shared``:
    a row has several responses. ``block``: how many queries attend at once, None for all.
    """

    tokens: Tensor
    positions: Tensor
    attention: Tensor
    before: Tensor
    rollout: Rollout
    order: Tensor | None
    shared: bool
    block: int | None = None

    def attending(self, config: Any) -> AbstractContextManager[None]:
        """The context in which the model of this config reads it."""
        return attending(config, self.shared, self.block)

    def of_responses(self, read: Tensor) -> Tensor:
        """What was read at the columns ``before``, by response: (R, K, D) -> (N, T, D)."""
        return read.reshape(len(self.rollout.mask), -1, read.shape[-1]) if self.shared else read

    def hidden(self, states: Tensor) -> Tensor:
        """Hidden states before each response token, (R, L, D) -> (N, T, D)."""
        return self.of_responses(states[:, self.before]) if self.shared else states[:, -len(self.before) :]

    def restored(self, figures: Tensor, width: int) -> Tensor:
        """Figures (N, T) of the responses in their own order, with zeros up to ``width``: (B, width)."""
        return pad_to(figures if self.order is None else figures[self.order], width)


def sharing_of(lm: Any, context: int, adapted: bool = False) -> Sharing:
    """How a causal language model of transformers with this ``context`` shares prompts; ``adapted`` by an adapter."""
    own_step = has_step(lm, adapted)
    alone = own_step and not may_be_recorded(lm)  # with keys in room of their own for short texts
    return Sharing(size_of(lm.base_model), window_of(lm.config, context), own_step, LONG if alone else 0)


def reading(rollout: Rollout, sharing: Sharing | None, first: int) -> Reading:
    """``rollout`` without columns of padding, as a model reads it; ``first`` is the position of a first token."""
    rollout = trim_padding(rollout)
    if sharing is not None:
        group = groups_of(rollout.prompts)
        shape = rollout.prompts.mask.shape[1], max(1, rollout.mask.shape[1] - 1)
        count, block = sharing.responses_in_a_row(group, *shape), sharing.block(*shape)
        if count > 1:
            return grouped(rollout, rows_of_groups(group, count), first, block)
        return each_alone(rollout, first, block)
    return each_alone(rollout, first)


def each_alone(rollout: Rollout, first: int, block: int | None = None) -> Reading:
    """A row for each response; nothing is predicted from the last token."""
    read, width = rollout.attention[:, :-1], rollout.responses.shape[1]
    # By number, not by count: a frozen head would multiply the slice of a count many times slower than a matrix.
    before = torch.arange(read.shape[1] - width, read.shape[1], device=read.device)
    attention = read.long() if block is None else read[:, None, None]
    return Reading(rollout.tokens[:, :-1], positions(read, first), attention, before, rollout, None, False, block)


def grouped(rollout: Rollout, rows: Sequence[Sequence[int]], first: int, block: int | None = None) -> Reading:
    """A row for the responses of each of ``rows``, which have one prompt; rows are filled up with the first response.

    What is filled up counts nowhere: its mask is False.
    """
    device, count = rollout.mask.device, max(map(len, rows))
    slots = torch.tensor([[*row, *[row[0]] * (count - len(row))] for row in rows], device=device)
    there = torch.tensor([[i < len(row) for i in range(count)] for row in rows], device=device)
    ordered = take(rollout, slots.flatten())
    if not bool(there.all()):
        ordered = _only(ordered, there.flatten())
    prompt, width = rollout.prompts.mask.shape[1], rollout.mask.shape[1]
    size = max(1, width - 1)  # nothing is predicted from the last token, but a row without tokens fits no model
    read = ordered.attention[:, : prompt + size]
    at = positions(read, first).unflatten(0, slots.shape)
    prompts = rollout.prompts.tokens[slots[:, 0]]
    responses = ordered.responses[:, :size].reshape(len(rows), -1)
    behind = torch.ones(size, prompt + size, dtype=torch.bool, device=device).tril(prompt)
    before = torch.cat([torch.full((count, 1), prompt - 1), prompt + torch.arange(count * size).view(count, size)], 1)
    order = torch.empty(len(rollout.mask), dtype=torch.long, device=device)
    order[slots[there]] = torch.arange(slots.numel(), device=device).view_as(slots)[there]
    same = len(order) == slots.numel() and bool((order[:-1] < order[1:]).all())
    return Reading(
        torch.cat([prompts, responses], dim=1),
        torch.cat([at[:, 0, :prompt], at[:, :, prompt:].flatten(1)], dim=1),
        read.unflatten(0, slots.shape).unsqueeze(2) & behind,
        before[:, :width].flatten().to(device), ordered, None if same else order, True, block,
    )  # fmt: skip


def _only(rollout: Rollout, there: Tensor) -> Rollout:
    """``rollout`` with a mask that is True in the rows that are ``there`` alone."""
    return Rollout(
        rollout.prompts, rollout.responses, rollout.mask & there.unsqueeze(1), rollout.attention, rollout.ended
    )
