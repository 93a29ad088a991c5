"""Texts to imitate: a table of prompts and completions, and batches of it as rollouts."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlnlp.config.schema import TextData
from rlnlp.data.batch import left_padded
from rlnlp.data.order import split
from rlnlp.data.records import Record, embedded_set, read_records, refused, text_fault
from rlnlp.embedded.grammar import corpus
from rlnlp.errors import Exit, Failure
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.types import Prompts, Rollout

EMBEDDED_TEXTS = 60_000
_WRITTEN = re.compile(r"embedded(?:/([1-9][0-9]{0,6}))?")  # embedded/5000: the first 5,000 of the grammar's texts
Pair = tuple[list[int], list[int]]


@dataclass(frozen=True)
class TextTable:
    """Rows of (prompt, completion with its end token); ``train`` and ``heldout`` say which is which."""

    pairs: list[Pair]
    train: list[int]
    heldout: list[int]
    tokenizer: Tokenizer

    def batch(self, rows: Sequence[int], device: torch.device) -> Rollout:
        """The texts of ``rows`` as if a policy had written them: every completion token counts."""
        pad, prompts = self.tokenizer.pad, self.prompts(rows, device)
        longest = max(len(self.pairs[r][1]) for r in rows)
        lengths = [len(self.pairs[r][1]) for r in rows]
        responses = torch.tensor([self.pairs[r][1] + [pad] * (longest - n) for r, n in zip(rows, lengths, strict=True)])
        mask = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)
        responses, mask = responses.to(device), mask.to(device)
        ended = torch.ones(len(rows), dtype=torch.bool, device=device)
        return Rollout(prompts, responses, mask, torch.cat([prompts.mask, mask], dim=1), ended)

    def prompts(self, rows: Sequence[int], device: torch.device) -> Prompts:
        """What stands before the completions of ``rows``, padded on the left."""
        return left_padded([self.pairs[r][0] for r in rows], rows, self.tokenizer.pad, device)


def text_table(data: TextData, heldout: int, seed: int, tokenizer: Tokenizer, room: int) -> TextTable:
    """The texts of the config, none longer than ``room`` tokens, and the held-out ones.

    Raises:
        Failure: exit 3, with the number of each bad record.
    """
    train = _read("data.texts", data.texts, tokenizer, room, data.best_fraction)
    if data.heldout is not None:
        apart = _read("data.heldout", data.heldout, tokenizer, room)[: heldout or None]
        count = len(train)
        return TextTable(train + apart, list(range(count)), list(range(count, count + len(apart))), tokenizer)
    rest, held = split(len(train), min(heldout, len(train) // 10), seed)
    return TextTable(train, rest, held or rest[: max(heldout, 1)], tokenizer)


def _read(key: str, name: str, tokenizer: Tokenizer, room: int, best: float = 1.0) -> list[Pair]:
    written = _WRITTEN.fullmatch(name)
    if written:
        count = int(written[1] or EMBEDDED_TEXTS)
        records: list[tuple[str, Record]] = [("", {"text": text}) for text in corpus.texts(count, 0)]
    else:
        records = read_records(str(embedded_set(name, "texts") or name), key, "text")
    faults: list[str] = []
    pairs = []
    for location, record in _best(key, records, best) if best < 1 else records:
        pair = _pair(record, tokenizer, room)
        if isinstance(pair, str):
            faults.append(f"{location}: {pair}")
        else:
            pairs.append(pair)
    if faults:
        raise refused(key, name, faults)
    return pairs


def _best(key: str, records: list[tuple[str, Record]], share: float) -> list[tuple[str, Record]]:
    """The ``share`` of the records with the highest ``score``, in the order of the file."""
    scores = [record.get("score") for _, record in records]
    for (location, _), score in zip(records, scores, strict=True):
        if not isinstance(score, float | int) or not math.isfinite(score):
            raise Failure(
                Exit.DATA, f"{key}: data.best_fraction needs a number 'score' in every record; {location} has {score!r}"
            )
    ranked = sorted(range(len(records)), key=lambda i: -float(scores[i] or 0))
    return [records[i] for i in sorted(ranked[: max(1, round(share * len(records)))])]


def _pair(record: Record, tokenizer: Tokenizer, room: int) -> Pair | str:
    if "response" in record and "completion" not in record:  # as samples.jsonl calls it
        record = {**record, "completion": record["response"]}
    fields = ("prompt", "completion") if "completion" in record else ("text",)
    fault = next((f for f in (text_fault(record, field) for field in fields) if f), None)
    if fault is not None:
        return fault
    end = [tokenizer.end[0]]
    if "completion" in record:
        before, rest = tokenizer.encode(record["prompt"]), [*tokenizer.encode_rest(record["completion"]), *end]
    else:
        ids = tokenizer.encode(record["text"])
        before, rest = ids[:1], [*ids[1:], *end]
    if not before:
        return "nothing to start from: the prompt is empty, and the tokenizer has no start token"
    if len(before) + len(rest) > room:
        return f"{len(before) + len(rest)} tokens, but the model reads at most {room}"
    return before, rest


def check_texts(table: TextTable) -> None:
    """Refuse a table that leaves nothing to learn from.

    Raises:
        Failure: exit 3.
    """
    if not table.train:
        raise Failure(Exit.DATA, "data.texts: nothing is left to train on; give more texts, or set heldout.size=0")
