"""Prompts with their references and columns: a table of rows, and batches of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlnlp.batching import left_padded
from rlnlp.config.data import PromptData
from rlnlp.config.measuring import APART, FALLBACK
from rlnlp.data.order import choosing_and_reporting, split
from rlnlp.data.records import Record, bad_lines_error
from rlnlp.data.sources import FIELDS, heldout_name, heldout_part, prompt_fault, prompt_records
from rlnlp.errors import counted
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.types import Prompts, Rollout, Texts


@dataclass(frozen=True)
class PromptTable:
    """Rows of prompts; ``train`` and ``heldout`` are the numbers of the training and the held-out rows."""

    records: list[Record]
    tokens: list[list[int]]
    train: list[int]
    heldout: list[int]
    tokenizer: Tokenizer

    @property
    def heldout_is_separate(self) -> bool:
        """True if no held-out prompt is trained on."""
        trained = {self.records[r]["prompt"] for r in self.train}
        return not any(self.records[r]["prompt"] in trained for r in self.heldout)

    def choosing_and_reporting(self, seed: int) -> tuple[list[int], list[int]]:
        """The held-out rows that choose the best step, and those that report on it: other prompts from ``APART`` on."""
        choosing, reporting = choosing_and_reporting([self.records[r]["prompt"] for r in self.heldout], APART, seed)
        return [self.heldout[i] for i in choosing], [self.heldout[i] for i in reporting]

    def batch(self, rows: Sequence[int], device: torch.device) -> Prompts:
        """The prompts of ``rows``, padded on the left."""
        return left_padded([self.tokens[r] for r in rows], rows, self.tokenizer.pad, device)

    def texts(self, rollout: Rollout) -> Texts:
        """The texts of a rollout, with the references and columns of its prompts."""
        rows = [self.records[r] for r in rollout.prompts.rows.tolist()]
        names = sorted({name for record in self.records for name in record} - set(FIELDS))
        responses = zip(rollout.prompts.rows.tolist(), rollout.responses.cpu(), rollout.mask.cpu(), strict=True)
        return Texts(
            [record["prompt"] for record in rows],
            [self.tokenizer.decode_rest(self.tokens[r], response[mask].tolist()) for r, response, mask in responses],
            [record.get("reference") for record in rows],
            {name: [record.get(name) for record in rows] for name in names},
        )


def prompt_table(data: PromptData, heldout: int, seed: int, tokenizer: Tokenizer, max_tokens: int) -> PromptTable:
    """The prompts of the config, each of at most ``max_tokens`` tokens.

    ``heldout`` is the number of held-out rows. They come from their own file, or are a seeded part of the distinct
    prompts, at most a tenth of them. If ``heldout`` is 0 or there are fewer than ten distinct prompts, they are
    training rows, repeated as needed.

    Raises:
        Failure: exit 3, with file and line of each bad record.
    """
    train = _read("data.prompts", data.prompts, "prompts.jsonl", tokenizer, max_tokens)
    held_name = heldout_name(data.prompts, data.heldout)
    if heldout and held_name is not None:
        held = _read("data.heldout", held_name, "heldout.jsonl", tokenizer, max_tokens)[:heldout]
        both = train + held
        rows = list(range(len(train))), list(range(len(train), len(both)))
    else:
        both, rows = train, _split([record["prompt"] for record, _ in train], heldout, seed)
    return PromptTable([r for r, _ in both], [t for _, t in both], *rows, tokenizer)


def table_of(records: list[Record], tokenizer: Tokenizer, max_tokens: int) -> PromptTable:
    """A table of the given records, all of them used.

    Raises:
        Failure: exit 3, for a prompt that is empty or too long.
    """
    numbered = [(f"prompt {i}", record) for i, record in enumerate(records, 1)]
    pairs = _encoded("prompt", "the command line", numbered, tokenizer, max_tokens)
    rows = list(range(len(pairs)))
    return PromptTable([record for record, _ in pairs], [ids for _, ids in pairs], rows, rows, tokenizer)


def _split(prompts: list[str], heldout: int, seed: int) -> tuple[list[int], list[int]]:
    distinct = list(dict.fromkeys(prompts))
    part = heldout_part(len(distinct), heldout)
    if part == 0:
        return list(range(len(prompts))), [i % len(prompts) for i in range(heldout or FALLBACK)]
    held = {distinct[i] for i in split(len(distinct), part, seed)[1]}
    rows = [prompts.index(prompt) for prompt in distinct if prompt in held]
    return [i for i, prompt in enumerate(prompts) if prompt not in held], rows


def _read(key: str, name: str, embedded: str, tokenizer: Tokenizer, max_tokens: int) -> list[tuple[Record, list[int]]]:
    return _encoded(key, name, prompt_records(key, name, embedded), tokenizer, max_tokens)


def _encoded(
    key: str, name: str, records: list[tuple[str, Record]], tokenizer: Tokenizer, max_tokens: int
) -> list[tuple[Record, list[int]]]:
    faults, encoded = [], []
    for location, record in records:
        fault, ids = _encode(record, tokenizer, max_tokens)
        if fault is None:
            encoded.append((record, ids))
        else:
            faults.append(f"{location}: {fault}")
    if faults:
        raise bad_lines_error(key, name, faults)
    return encoded


def _encode(record: Record, tokenizer: Tokenizer, max_tokens: int) -> tuple[str | None, list[int]]:
    fault = prompt_fault(record)
    if fault is not None:
        return fault, []
    ids = tokenizer.encode(record["prompt"]) or list(tokenizer.start)
    if not ids:
        return "the prompt is empty, and the tokenizer has no start token", []
    if len(ids) > max_tokens:
        return f"{counted(len(ids), 'token')}, but the model has room for {max_tokens} besides the response", []
    return None, ids
