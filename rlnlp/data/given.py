"""Texts that no policy needs to have written, as rollouts that a reward can score: what people and others judge."""

import json
from collections.abc import Sequence
from dataclasses import replace

import torch

from rlnlp.data.formats import Record
from rlnlp.data.prompts import PromptTable
from rlnlp.data.sources import FIELDS
from rlnlp.models.chat import Prompt, prompt_text
from rlnlp.types import Rollout, Texts


class GivenTexts:
    """The texts of rollouts: those that ``rollout`` made one of, to the letter; else what its tokens say.

    ``context`` is how many tokens the model of the ``table`` can read.
    """

    def __init__(self, table: PromptTable, context: int, device: torch.device) -> None:
        self._table, self._context, self._device = table, context, device
        self._rows = {_key(_prompt_of(record)): row for row, record in reversed(list(enumerate(table.records)))}
        names = {name for record in table.records for name in record} - set(FIELDS)
        self._columns: Record = dict.fromkeys(sorted(names))
        self._last: tuple[Rollout, Texts] | None = None

    def __call__(self, rollout: Rollout) -> Texts:
        """The texts of a rollout; those of the last one are kept."""
        if self._last is None or self._last[0] is not rollout:
            self._last = rollout, self._table.texts(rollout)
        return self._last[1]

    def rollout(self, prompts: Sequence[Prompt | None], responses: Sequence[str]) -> Rollout:
        """``responses`` to ``prompts``, one to each, as if the policy had ended each of them.

        A prompt of the table has its reference and its columns. What does not fit into the context is cut.
        """
        rows = [self._row(prompt) for prompt in prompts]
        own = replace(
            self._table, records=[record for record, _ in rows], tokens=[ids for _, ids in rows], train=[], heldout=[]
        )
        rollout = own.as_rollout(range(len(rows)), [[text] for text in responses], self._device, self._context)
        texts = own.texts(rollout)
        said = [{"role": "assistant", "content": text} for text in responses]
        messages = [[*turns[:-1], last] for turns, last in zip(texts.messages, said, strict=True)]
        self._last = rollout, replace(texts, completions=list(responses), messages=messages)
        return rollout

    def _row(self, prompt: Prompt | None) -> tuple[Record, list[int]]:
        known = self._rows.get(_key(prompt or ""))
        if known is not None:
            return {**self._columns, **self._table.records[known]}, self._table.tokens[known]
        record: Record = {**self._columns, "prompt": prompt or ""}
        if isinstance(prompt, list):
            record |= {"messages": prompt, "prompt": prompt_text(prompt)}
        tokenizer = self._table.tokenizer
        ids = tokenizer.encode(record["prompt"]) or [*tokenizer.start, tokenizer.end[0]][:1]
        return record, ids[-max(1, self._context // 2) :]


def _prompt_of(record: Record) -> Prompt:
    prompt: Prompt = record.get("messages") or record["prompt"]
    return prompt


def _key(prompt: Prompt) -> str:
    return json.dumps(prompt)
