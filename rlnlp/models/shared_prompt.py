"""The prompt that several texts share, computed once: forward and backward, exact up to rounding.

A row holds a prompt and several of its answers behind each other. The mask lets a token see the prompt and its own
answer alone, and positions go on from the prompt in each answer: to a causal transformer every answer is the only one.
All prompts and answers are one pass, so that each weight's gradient is one product. (A pass over the prompts that keeps
keys and values, and one over the answers, gives the same numbers, and pays less with short answers.)

Measured, forward and backward in float32 on one core, seconds for two answers to each prompt:

======================  =======  =======  ==========================  =====================  ========
model                   prompts  tokens   each text for itself        keys and values kept   this
======================  =======  =======  ==========================  =====================  ========
SmolLM2-135M            4        128 + 32  6.2                         4.2                    4.0
SmolLM2-135M            4        24 + 24   2.12                        2.01                   1.66
Llama, 1.6 million      64       12 + 24   .46                         .39                    .39
======================  =======  =======  ==========================  =====================  ========
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlnlp.batching import right_padded
from rlnlp.models.text_tokens import TextBatch

PAYS = 0.95  # of the work of reading each text for itself, at most
ATTENTION = 2  # its elementwise work counts as much again as its products
WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")  # of a config: further back is not seen


class Size(NamedTuple):
    """Of a trunk: its weights but the embedding, its layers, and the width of its hidden states."""

    weights: int
    layers: int
    width: int

    def work(self, rows: int, length: int) -> float:
        """Of a forward pass over ``rows`` rows of ``length`` tokens, in multiplications."""
        return rows * self._work(length, length * length)

    def group_work(self, prompt: int, count: int, response: int) -> float:
        """The same of one row of ``count`` responses behind a prompt, where scores that mean nothing are left out."""
        behind = count * response
        return self._work(prompt + behind, prompt * prompt + behind * (prompt + response))

    def _work(self, tokens: int, scores: int) -> float:
        return tokens * self.weights + ATTENTION * 2 * self.layers * self.width * scores


def size_of(body: Any) -> Size:
    """The size of a model of transformers without its head, as far as it tells what a pass costs."""
    facts = body.config.get_text_config()
    weights = sum(weight.numel() for weight in body.parameters())
    embedding = body.get_input_embeddings().weight.numel()
    return Size(weights - embedding, int(facts.num_hidden_layers), int(facts.hidden_size))


def window_of(config: Any, context: int) -> int:
    """The longest text of which the last token sees the first, in a model with this ``context``."""
    facts = config.get_text_config().to_dict()
    return min([context, *(int(facts[name]) for name in WINDOWS if isinstance(facts.get(name), int))])


@dataclass(frozen=True)
class Rows:
    """Texts in rows of L tokens, R of them: ``tokens``, ``positions`` (R, L) int64, ``sees`` (R, L, L) bool.

    ``places`` (B, S) int64 has, for each text, where its tokens stand in the rows one behind the other, ``real`` (B, S)
    bool which of these there are.
    """

    tokens: Tensor
    positions: Tensor
    sees: Tensor
    places: Tensor
    real: Tensor


def answers_in_a_row(batch: TextBatch, size: Size, longest: int) -> int:
    """How many answers to stand in a row behind their prompt; 1 where sharing prompts does not pay.

    The one with the least ``Size.work``, of 1, 2, 4 and so on, if that is at most ``PAYS`` of the work with one. A row
    has at most ``longest`` tokens. It depends on lengths and sizes alone: a run can be repeated on any machine.
    """
    prompts, answers, group = _lengths(batch)
    alone = max(prompts[g] + length for g, length in zip(group, answers, strict=True))
    best, least = 1, PAYS * size.work(len(group), alone)
    most, count = max(group.count(g) for g in set(group)), 1
    while count < most:
        count *= 2
        rows = [prompts[group[row[0]]] + sum(answers[i] for i in row) for row in rows_of_groups(group, count)]
        if max(rows) <= longest and (work := size.work(len(rows), max(rows))) <= least:
            best, least = count, work
    return best


def shared_rows(batch: TextBatch, count: int, first: int = 0) -> Rows:
    """The texts in rows of a prompt and up to ``count`` of its answers; ``first`` is the position of a first token."""
    lengths, answers, group = _lengths(batch)
    prompts = [row[len(row) - n :] for row, n in zip(batch.prompts.tolist(), lengths, strict=True)]
    said = [row[:n] for row, n in zip(batch.answers.tolist(), answers, strict=True)]
    rows = rows_of_groups(group, count)
    length = max(lengths[group[row[0]]] + sum(answers[i] for i in row) for row in rows)
    tokens, positions, segments = [], [], []
    places: list[list[int]] = [[] for _ in group]
    for r, row in enumerate(rows):
        prompt = prompts[group[row[0]]]
        begin = len(prompt)
        words, at, part = list(prompt), list(range(begin)), [0] * begin
        for number, i in enumerate(row, 1):
            start = r * length + len(words)
            places[i] = [*range(r * length, r * length + begin), *range(start, start + answers[i])]
            words += said[i]
            at += range(begin, begin + answers[i])
            part += [number] * answers[i]
        rest = length - len(words)
        tokens.append(words + [0] * rest)
        positions.append([first + p for p in at] + [first] * rest)
        segments.append(part + [-1] * rest)
    device = batch.group.device
    places_in_text, parts = torch.tensor(positions, device=device), torch.tensor(segments, device=device)
    there, real = right_padded(places, 0, device)
    return Rows(torch.tensor(tokens, device=device), places_in_text, _sees(parts, places_in_text), there, real)


def attention_bias(sees: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the scores of attention: 0 where a token sees another. (R, L, L) -> (R, 1, L, L)."""
    return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill(~sees, torch.finfo(dtype).min)[:, None]


def _sees(segments: Tensor, positions: Tensor) -> Tensor:
    """Which tokens (R, L, L) each one sees: before it in its own answer, and the prompt; padding sees itself."""
    query, key = segments.unsqueeze(2), segments.unsqueeze(1)
    before = positions.unsqueeze(2) >= positions.unsqueeze(1)
    itself = torch.eye(segments.shape[1], dtype=torch.bool, device=segments.device)
    return ((query == key) | (key == 0)) & before & (key >= 0) & (query >= 0) | itself


def _lengths(batch: TextBatch) -> tuple[list[int], list[int], list[int]]:
    """Tokens of each prompt and of each answer, and the prompt of each answer."""
    return batch.prompt_mask.sum(1).tolist(), batch.answer_mask.sum(1).tolist(), batch.group.tolist()


def rows_of_groups(group: Sequence[int], count: int) -> list[list[int]]:
    """The answers of each row: those of one prompt in their order, at most ``count``."""
    order = sorted(range(len(group)), key=group.__getitem__)
    rows = []
    for _, members in groupby(order, key=group.__getitem__):
        own = list(members)
        rows += [own[i : i + count] for i in range(0, len(own), count)]
    return rows
