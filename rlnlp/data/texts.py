"""Texts for supervised training: a table of prompts and completions, and batches of it as rollouts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlnlp.batching import left_padded
from rlnlp.config.data import TextData
from rlnlp.data.order import choosing_and_reporting, split
from rlnlp.data.records import Record, bad_lines_error
from rlnlp.data.sources import heldout_part, text_fields, text_record_fault, text_records, with_completion
from rlnlp.errors import Exit, Failure, counted
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.types import Prompts, Rollout

Pair = tuple[list[int], list[int]]  # tokens of the prompt, and of the completion with its end token


@dataclass(frozen=True)
class TextTable:
    """Rows of prompts and completions; ``train`` and ``heldout`` are the numbers of the rows to use for each."""

    pairs: list[Pair]
    train: list[int]
    heldout: list[int]
    tokenizer: Tokenizer

    def choosing_and_reporting(self, seed: int) -> tuple[list[int], list[int]]:
        """The held-out rows that choose the best step, and those that report on it: others, if there are two texts."""
        texts = [(*prompt, -1, *completion) for prompt, completion in (self.pairs[r] for r in self.heldout)]
        choosing, reporting = choosing_and_reporting(texts, 2, seed)
        return [self.heldout[i] for i in choosing], [self.heldout[i] for i in reporting]

    @property
    def heldout_is_separate(self) -> bool:
        """True if no held-out row is trained on."""
        return not set(self.train) & set(self.heldout)

    def batch(self, rows: Sequence[int], device: torch.device) -> Rollout:
        """The texts of ``rows`` as a rollout; the mask is True at every token of the completions."""
        pad, prompts = self.tokenizer.pad, self.prompts(rows, device)
        longest = max(len(self.pairs[r][1]) for r in rows)
        lengths = [len(self.pairs[r][1]) for r in rows]
        responses = torch.tensor([self.pairs[r][1] + [pad] * (longest - n) for r, n in zip(rows, lengths, strict=True)])
        mask = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)
        responses, mask = responses.to(device), mask.to(device)
        ended = torch.ones(len(rows), dtype=torch.bool, device=device)
        return Rollout(prompts, responses, mask, torch.cat([prompts.mask, mask], dim=1), ended)

    def texts(self, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Prompt and completion of ``rows`` in words."""
        pairs = [self.pairs[r] for r in rows]
        return [(self.tokenizer.decode(ids), self.tokenizer.decode_rest(ids, rest)) for ids, rest in pairs]

    def prompts(self, rows: Sequence[int], device: torch.device) -> Prompts:
        """The prompts of ``rows``, padded on the left."""
        return left_padded([self.pairs[r][0] for r in rows], rows, self.tokenizer.pad, device)


def text_table(data: TextData, heldout: int, seed: int, tokenizer: Tokenizer, max_tokens: int) -> TextTable:
    """The texts of the config, each of at most ``max_tokens`` tokens; ``heldout`` is the number of held-out rows.

    Raises:
        Failure: exit 3, with the number of each bad record.
    """
    train = _read("data.texts", data.texts, tokenizer, max_tokens, data.best_fraction)
    if data.heldout is not None:
        held = _read("data.heldout", data.heldout, tokenizer, max_tokens)[: heldout or None]
        count = len(train)
        return TextTable(train + held, list(range(count)), list(range(count, count + len(held))), tokenizer)
    rest, rows = split(len(train), heldout_part(len(train), heldout), seed)
    return TextTable(train, rest, rows or rest[: max(heldout, 1)], tokenizer)


def _read(key: str, name: str, tokenizer: Tokenizer, max_tokens: int, best: float = 1.0) -> list[Pair]:
    faults: list[str] = []
    pairs = []
    for location, record in text_records(key, name, best):
        pair = _pair(record, tokenizer, max_tokens)
        if isinstance(pair, str):
            faults.append(f"{location}: {pair}")
        else:
            pairs.append(pair)
    if faults:
        raise bad_lines_error(key, name, faults)
    return pairs


def _pair(record: Record, tokenizer: Tokenizer, max_tokens: int) -> Pair | str:
    fault = text_record_fault(record)
    if fault is not None:
        return fault
    record = with_completion(record)
    end = [tokenizer.end[0]]
    if "completion" in record:
        prompt, completion = tokenizer.encode(record["prompt"]), [*tokenizer.encode_rest(record["completion"]), *end]
    else:
        ids = tokenizer.encode(record["text"])
        prompt, completion = ids[:1], [*ids[1:], *end]
    if not prompt:
        return f"the {text_fields(record)[0]} is empty, and the tokenizer has no start token"
    count = len(prompt) + len(completion)
    if count > max_tokens:
        return f"{counted(count, 'token')}, but the model's context has {max_tokens}"
    return prompt, completion


def check_texts(table: TextTable) -> None:
    """Check that there are texts to train on.

    Raises:
        Failure: exit 3, if there are none.
    """
    if not table.train:
        raise Failure(Exit.DATA, "data.texts: nothing is left to train on; give more texts, or set heldout.size=0")
