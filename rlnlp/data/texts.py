"""Texts for supervised training: a table of prompts and completions, and batches of it as rollouts."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlnlp.batching import left_padded
from rlnlp.config.schema import TextData
from rlnlp.data.order import choosing_and_reporting, split
from rlnlp.data.records import Record, bad_lines_error, embedded_set, read_records, text_fault
from rlnlp.embedded.grammar import corpus
from rlnlp.errors import Exit, Failure
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.types import Prompts, Rollout

EMBEDDED_TEXTS = 60_000
_GENERATED = re.compile(r"embedded(?:/([1-9][0-9]{0,6}))?")  # embedded/5000: the first 5,000 of the grammar's texts
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
    rest, rows = split(len(train), min(heldout, len(train) // 10), seed)
    return TextTable(train, rest, rows or rest[: max(heldout, 1)], tokenizer)


def _read(key: str, name: str, tokenizer: Tokenizer, max_tokens: int, best: float = 1.0) -> list[Pair]:
    generated = _GENERATED.fullmatch(name)
    if generated:
        count = int(generated[1] or EMBEDDED_TEXTS)
        records: list[tuple[str, Record]] = [("", {"text": text}) for text in corpus.texts(count, 0)]
    else:
        records = read_records(str(embedded_set(name, "texts") or name), key, "text")
    faults: list[str] = []
    pairs = []
    for location, record in _best(key, records, best) if best < 1 else records:
        pair = _pair(record, tokenizer, max_tokens)
        if isinstance(pair, str):
            faults.append(f"{location}: {pair}")
        else:
            pairs.append(pair)
    if faults:
        raise bad_lines_error(key, name, faults)
    return pairs


def _best(key: str, records: list[tuple[str, Record]], fraction: float) -> list[tuple[str, Record]]:
    """The ``fraction`` of the records with the highest ``score``, in the order of the file."""
    scores = [record.get("score") for _, record in records]
    for (location, _), score in zip(records, scores, strict=True):
        if not isinstance(score, float | int) or not math.isfinite(score):
            raise Failure(
                Exit.DATA, f"{key}: data.best_fraction needs a number 'score' in every record; {location} has {score!r}"
            )
    ranked = sorted(range(len(records)), key=lambda i: -float(scores[i] or 0))
    return [records[i] for i in sorted(ranked[: max(1, round(fraction * len(records)))])]


def _pair(record: Record, tokenizer: Tokenizer, max_tokens: int) -> Pair | str:
    if "response" in record and "completion" not in record:  # its name in samples.jsonl
        record = {**record, "completion": record["response"]}
    fields = ("prompt", "completion") if "completion" in record else ("text",)
    fault = next((f for f in (text_fault(record, field) for field in fields) if f), None)
    if fault is not None:
        return fault
    end = [tokenizer.end[0]]
    if "completion" in record:
        prompt, completion = tokenizer.encode(record["prompt"]), [*tokenizer.encode_rest(record["completion"]), *end]
    else:
        ids = tokenizer.encode(record["text"])
        prompt, completion = ids[:1], [*ids[1:], *end]
    if not prompt:
        return f"the {fields[0]} is empty, and the tokenizer has no start token"
    count = len(prompt) + len(completion)
    if count > max_tokens:
        return f"{count} tokens, but the model's context has {max_tokens}"
    return prompt, completion


def check_texts(table: TextTable) -> None:
    """Check that there are texts to train on.

    Raises:
        Failure: exit 3, if there are none.
    """
    if not table.train:
        raise Failure(Exit.DATA, "data.texts: nothing is left to train on; give more texts, or set heldout.size=0")
