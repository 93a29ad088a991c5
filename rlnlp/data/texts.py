"""Texts for supervised training: a table of prompts and completions, and batches of it as rollouts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlnlp.batching import left_padded
from rlnlp.config.data import Named, TextData, names_text
from rlnlp.data.fitting import Fitting
from rlnlp.data.formats import Record
from rlnlp.data.order import choosing_and_reporting, split
from rlnlp.data.sources import heldout_part, is_own, text_fields, text_record_fault, text_records, with_completion
from rlnlp.errors import Exit, Failure
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.types import Prompts, Rollout

Pair = tuple[list[int], list[int]]  # tokens of the prompt, and of the completion with its end token


@dataclass(frozen=True)
class TextTable:
    """Rows of prompts and completions; ``train`` and ``heldout`` are the numbers of the rows to use for each.

    ``notes`` tell what became of rows that are too long, empty, or there twice.
    """

    pairs: list[Pair]
    train: list[int]
    heldout: list[int]
    tokenizer: Tokenizer
    notes: Sequence[str] = ()

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
    """The texts of the config, each of at most ``max_tokens`` tokens, as ``data.too_long`` has it.

    ``heldout`` is the number of held-out rows.

    Raises:
        Failure: exit 3, with the number of each bad record.
    """
    train, notes = _read("data.texts", data.texts, data, tokenizer, max_tokens, data.best_fraction)
    if data.heldout is not None:
        held, more = _read("data.heldout", data.heldout, data, tokenizer, max_tokens)
        held, notes = held[: heldout or None], notes + [f"held out: {note}" for note in more]
        count = len(train)
        return TextTable(train + held, list(range(count)), list(range(count, count + len(held))), tokenizer, notes)
    rest, rows = split(len(train), heldout_part(len(train), heldout), seed)
    return TextTable(train, rest, rows or rest[: max(heldout, 1)], tokenizer, notes)


def _read(
    key: str, name: Named, data: TextData, tokenizer: Tokenizer, room: int, best: float = 1.0
) -> tuple[list[Pair], list[str]]:
    """The pairs of the texts that can be used, and what is told of those that did not fit.

    Raises:
        Failure: exit 3, for a record that is no text, or if no text can be used.
    """
    fitting = Fitting(key, names_text(name), "text", room, data.too_long)
    pairs = []
    for location, record in text_records(key, name, data, best).records:
        if fault := text_record_fault(record):
            fitting.refuse(location, fault)
            continue
        prompt, completion = _pair(with_completion(record), tokenizer)
        if not prompt:
            field = text_fields(with_completion(record))[0]
            fitting.leave_out_empty(location, f"the {field} is empty, and the tokenizer has no start token")
            continue
        if (count := len(prompt) + len(completion)) > room:
            if not fitting.cuts(location, count, len(prompt) + 1):
                continue
            completion = completion[: room - len(prompt)]  # without its end: it does not end there
        fitting.add(location, (*prompt, -1, *completion), len(completion) == 1)
        pairs.append((prompt, completion))
    fitting.check()
    return pairs, [] if is_own(name) else fitting.notes()


def _pair(record: Record, tokenizer: Tokenizer) -> Pair:
    end = [tokenizer.end[0]]
    if "completion" in record:
        return tokenizer.encode(record["prompt"]), [*tokenizer.encode_rest(record["completion"]), *end]
    ids = tokenizer.encode(record["text"])
    return ids[:1], [*ids[1:], *end]


def check_texts(table: TextTable) -> None:
    """Check that there are texts to train on.

    Raises:
        Failure: exit 3, if there are none.
    """
    if not table.train:
        raise Failure(Exit.DATA, "data.texts: nothing is left to train on; give more texts, or set heldout.size=0")
