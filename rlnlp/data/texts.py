"""Texts for supervised training: a table of prompts and completions, and batches of it as rollouts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from rlnlp.batching import left_padded, right_padded
from rlnlp.config.data import Named, TextData, names_text
from rlnlp.data.fitting import Fitting, held_out
from rlnlp.data.formats import Record
from rlnlp.data.order import choosing_and_reporting, split
from rlnlp.data.sources import heldout_part, is_own, text_fields, text_record_fault, text_records, with_completion
from rlnlp.errors import Exit, Failure
from rlnlp.models.chat import Chat, Messages, Unreadable, chat_of, conversation_text, prompt_text, with_system
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.models.turns import assistant_tokens
from rlnlp.types import Prompts, Rollout


class Spoken(NamedTuple):
    """What a row has that is a conversation: which tokens of its completion are learned, what comes before it, and both
    parts in words.
    """

    learned: list[bool]
    asked: Messages
    completion: str

    @property
    def prompt(self) -> str:
        """What comes before the completion, in words."""
        return prompt_text(self.asked)


class Row(NamedTuple):
    """The tokens of a text to learn, the completion with its end token.

    The completion of a conversation is all that follows from the first turn that is learned.
    """

    prompt: list[int]
    completion: list[int]
    spoken: Spoken | None = None


@dataclass(frozen=True)
class TextTable:
    """Rows of prompts and completions; ``train`` and ``heldout`` are the numbers of the rows to use for each.

    ``told`` is what became of rows that are too long, empty, or there twice: a line for each kind, by its name.
    """

    rows: list[Row]
    train: list[int]
    heldout: list[int]
    tokenizer: Tokenizer
    told: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """The lines of ``told``."""
        return list(self.told.values())

    def choosing_and_reporting(self, seed: int) -> tuple[list[int], list[int]]:
        """The held-out rows that choose the best step, and those that report on it: others, if there are two texts."""
        texts = [(*self.rows[r].prompt, -1, *self.rows[r].completion) for r in self.heldout]
        choosing, reporting = choosing_and_reporting(texts, 2, seed)
        return [self.heldout[i] for i in choosing], [self.heldout[i] for i in reporting]

    @property
    def heldout_is_separate(self) -> bool:
        """True if no held-out row is trained on."""
        return not set(self.train) & set(self.heldout)

    def batch(self, rows: Sequence[int], device: torch.device) -> Rollout:
        """The texts of ``rows`` as a rollout; the mask is True at every token of the completions that is learned."""
        prompts, chosen = self.prompts(rows, device), [self.rows[r] for r in rows]
        responses, real = right_padded([row.completion for row in chosen], self.tokenizer.pad, device)
        mask = real.clone()
        for i, row in enumerate(chosen):
            if row.spoken is not None:
                mask[i, : len(row.completion)] = torch.tensor(row.spoken.learned)
        ended = torch.ones(len(rows), dtype=torch.bool, device=device)
        return Rollout(prompts, responses, mask, torch.cat([prompts.mask, real], dim=1), ended)

    def texts(self, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Prompt and completion of ``rows`` in words."""
        return [self._words(self.rows[r]) for r in rows]

    def response(self, row: int, tokens: Sequence[int]) -> tuple[str, str]:
        """The prompt of ``row`` and a response to it in words."""
        asked, spoken = self.rows[row].prompt, self.rows[row].spoken
        text = self.tokenizer.decode_rest(asked, tokens)
        return (self.tokenizer.decode(asked), text) if spoken is None else (spoken.prompt, text.removeprefix(" "))

    def _words(self, row: Row) -> tuple[str, str]:
        if row.spoken is not None:
            return row.spoken.prompt, row.spoken.completion
        return self.tokenizer.decode(row.prompt), self.tokenizer.decode_rest(row.prompt, row.completion)

    def prompts(self, rows: Sequence[int], device: torch.device) -> Prompts:
        """The prompts of ``rows``, padded on the left."""
        return left_padded([self.rows[r].prompt for r in rows], rows, self.tokenizer.pad, device)


def text_table(data: TextData, heldout: int, seed: int, tokenizer: Tokenizer, max_tokens: int) -> TextTable:
    """The texts of the config, each of at most ``max_tokens`` tokens, as ``data.too_long`` has it.

    ``heldout`` is the number of held-out rows.

    Raises:
        Failure: exit 3, with the number of each bad record.
    """
    chat = chat_of(data, tokenizer)
    train, told = _read("data.texts", data.texts, data, chat, max_tokens, data.best_fraction)
    if data.heldout is not None:
        held, more = _read("data.heldout", data.heldout, data, chat, max_tokens)
        held, told = held[: heldout or None], told | held_out(more)
        count = len(train)
        parts = list(range(count)), list(range(count, count + len(held)))
        return TextTable(train + held, *parts, _tokenizer(train + held, chat), told)
    rest, rows = split(len(train), heldout_part(len(train), heldout), seed)
    return TextTable(train, rest, rows or rest[: max(heldout, 1)], _tokenizer(train, chat), told)


def _tokenizer(rows: list[Row], chat: Chat) -> Tokenizer:
    return chat.ending_turns() if any(row.spoken for row in rows) else chat.tokenizer


def _read(
    key: str, name: Named, data: TextData, chat: Chat, room: int, best: float = 1.0
) -> tuple[list[Row], dict[str, str]]:
    """The rows of the texts that can be used, and what is told of those that did not fit, and of control words.

    Raises:
        Failure: exit 3, for a record that is no text, or if no text can be used; exit 4, for a conversation without a
            template.
    """
    fitting = Fitting(key, names_text(name), "text", room, data.too_long)
    rows, texts = [], []
    for location, record in text_records(key, name, data, best).records:
        try:
            row = _row(record, chat, data.turns == "last")
        except Unreadable as fault:
            fitting.refuse(location, str(fault))
            continue
        if not row.prompt:
            field = text_fields(with_completion(record))[0]
            fitting.leave_out_empty(location, f"the {field} is empty, and the tokenizer has no start token")
            continue
        if (count := len(row.prompt) + len(row.completion)) > room:
            if not fitting.cuts(location, count, len(row.prompt) + 1):
                continue
            row = _cut(row, room - len(row.prompt))
        fitting.add(location, (*row.prompt, -1, *row.completion), len(row.completion) == 1)
        rows.append(row)
        texts.append("\n".join(_contents(record)))
    fitting.check()
    return rows, {} if is_own(name) else fitting.notes() | chat.notes(texts, spoken=True)


def _cut(row: Row, length: int) -> Row:
    """A row with the first ``length`` tokens of its completion: without its end, as it does not end there."""
    spoken = None if row.spoken is None else row.spoken._replace(learned=row.spoken.learned[:length])
    return Row(row.prompt, row.completion[:length], spoken)


def _contents(record: Record) -> list[str]:
    """What people wrote in a record of texts."""
    if "messages" in record:
        return [turn["content"] for turn in record["messages"]]
    named = with_completion(record)
    return [named[field] for field in text_fields(named)]


def _row(record: Record, chat: Chat, last_only: bool) -> Row:
    """The tokens of a record of texts; ``last_only``: of a conversation only the assistant's last turn is learned.

    Raises:
        Failure: exit 4, for a conversation without a template.
        Unreadable: the record is no text, or the template refuses its conversation.
    """
    if fault := text_record_fault(record):
        raise Unreadable(fault)
    if "messages" in record:
        return _conversation(with_system(record["messages"], chat.system), chat, last_only)
    record, tokenizer = with_completion(record), chat.tokenizer
    if "completion" in record:
        prompt, completion = tokenizer.encode_behind(record["prompt"], record["completion"])
    else:
        ids = tokenizer.encode(record["text"])
        prompt, completion = ids[:1], ids[1:]
    return Row(prompt, [*completion, tokenizer.end[0]])


def _conversation(messages: Messages, chat: Chat, last_only: bool) -> Row:
    ids, learned = assistant_tokens(chat, messages, last_only)
    count = max(1, learned.index(True))
    turns = [i for i, turn in enumerate(messages) if turn["role"] == "assistant" and turn["content"].strip()]
    asked = list(messages[: turns[-1] if last_only else turns[0]])
    words = conversation_text(messages[: turns[-1] + 1]).removeprefix(prompt_text(asked))
    return Row(ids[:count], ids[count:], Spoken(learned[count:], asked, words))


def check_texts(table: TextTable) -> None:
    """Check that there are texts to train on.

    Raises:
        Failure: exit 3, if there are none.
    """
    if not table.train:
        raise Failure(Exit.DATA, "data.texts: nothing is left to train on; give more texts, or set heldout.size=0")
