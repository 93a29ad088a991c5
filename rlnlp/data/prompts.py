"""Prompts with their references and columns: a table of rows, and batches of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch

from rlnlp.batching import left_padded, right_padded
from rlnlp.config.data import Named, PromptData, names_in, names_text
from rlnlp.config.measuring import APART, FALLBACK
from rlnlp.data.fitting import Fitting, held_out
from rlnlp.data.formats import Record
from rlnlp.data.messages import as_prompt, read_conversations
from rlnlp.data.order import choosing_and_reporting, split
from rlnlp.data.records import Located
from rlnlp.data.sources import FIELDS, heldout_name, heldout_part, is_own, prompt_fault, prompt_records
from rlnlp.models.chat import Chat, Prompt, Unreadable, chat_of, prompt_text
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.types import Prompts, Rollout, Texts

Row = tuple[Record, list[int]]


class Rows(NamedTuple):
    """Prompts with their tokens, and what is told of those that did not fit, by name."""

    rows: list[Row]
    told: dict[str, str]


@dataclass(frozen=True)
class PromptTable:
    """Rows of prompts; ``train`` and ``heldout`` are the numbers of the training and the held-out rows.

    ``told`` is what became of rows that are too long, empty, or there twice, and of control words: a line for each by a
    name. A record that is a conversation has its ``messages``, and as its ``prompt`` what people read of it.
    """

    records: list[Record]
    tokens: list[list[int]]
    train: list[int]
    heldout: list[int]
    tokenizer: Tokenizer
    told: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """The lines of ``told``."""
        return list(self.told.values())

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
        numbers = rollout.prompts.rows.tolist()
        rows = [self.records[r] for r in numbers]
        names = sorted({name for record in self.records for name in record} - set(FIELDS))
        responses = zip(numbers, rollout.responses.cpu(), rollout.mask.cpu(), strict=True)
        completions = [self.response_text(r, response[mask].tolist()) for r, response, mask in responses]
        begun = [record.get("messages") or [{"role": "user", "content": record["prompt"]}] for record in rows]
        return Texts(
            [record["prompt"] for record in rows],
            completions,
            [record.get("reference") for record in rows],
            {name: [record.get(name) for record in rows] for name in names},
            [[*turns, {"role": "assistant", "content": text}] for turns, text in zip(begun, completions, strict=True)],
            ["messages" in record for record in rows],
        )

    def as_rollout(
        self, rows: Sequence[int], texts: Sequence[Sequence[str]], device: torch.device, context: int | None = None
    ) -> Rollout:
        """``texts`` as responses to the prompts of ``rows``, several to each, as if the policy had ended each of them.

        A text that does not begin as one behind its prompt would is set apart from it by a space. One that does not fit
        into a ``context`` of so many tokens is cut.
        """
        ids = [self._response_ids(row, text) for row, said in zip(rows, texts, strict=True) for text in said]
        if context is not None:
            behind = [len(self.tokens[row]) for row, said in zip(rows, texts, strict=True) for _ in said]
            ids = [each[: max(1, context - before)] for each, before in zip(ids, behind, strict=True)]
        prompts = self.batch([row for row, said in zip(rows, texts, strict=True) for _ in said], device)
        responses, mask = right_padded(ids, self.tokenizer.pad, device)
        ended = torch.ones(len(ids), dtype=torch.bool, device=device)
        return Rollout(prompts, responses, mask, torch.cat([prompts.mask, mask], dim=1), ended)

    def _response_ids(self, row: int, text: str) -> list[int]:
        record, end = self.records[row], self.tokenizer.end[0]
        if "messages" in record:
            ids = self.tokenizer.encode(text)
            start = list(self.tokenizer.start)
            return [*(ids[len(start) :] if start and ids[: len(start)] == start else ids), end]
        joint = "" if text[:1].isspace() or record["prompt"][-1:].isspace() else " "
        return [*self.tokenizer.encode_behind(record["prompt"], joint + text)[1], end]

    def response_text(self, row: int, tokens: Sequence[int]) -> str:
        """A response to the prompt of ``row`` in words; of a turn of a conversation, without the space before it."""
        text = self.tokenizer.decode_rest(self.tokens[row], tokens)
        return text.removeprefix(" ") if "messages" in self.records[row] else text


def prompt_table(data: PromptData, heldout: int, seed: int, tokenizer: Tokenizer, max_tokens: int) -> PromptTable:
    """The prompts of the config, each of at most ``max_tokens`` tokens, as ``data.too_long`` has it.

    ``heldout`` is the number of held-out rows. They come from their own file, or are a seeded part of the distinct
    prompts, at most a tenth of them. If ``heldout`` is 0 or there are fewer than ten distinct prompts, they are
    training rows, repeated as needed.

    Raises:
        Failure: exit 3, with file and line of each bad record.
    """
    chat = chat_of(data, tokenizer)
    train, told = _read("data.prompts", data.prompts, "prompts.jsonl", data, chat, max_tokens)
    held_name = heldout_name(data.prompts, data.heldout)
    if heldout and held_name is not None:
        held, more = _read("data.heldout", held_name, "heldout.jsonl", data, chat, max_tokens)
        both, told = train + _measured_on(held, heldout, len(names_in(held_name))), told | held_out(more)
        rows = list(range(len(train))), list(range(len(train), len(both)))
    else:
        both, rows = train, _split([record["prompt"] for record, _ in train], heldout, seed)
    return _table(Rows(both, told), *rows, chat)


def _measured_on(rows: list[Row], count: int, sets: int) -> list[Row]:
    """The first ``count``; of several sets, one behind the other, so many that are evenly spread over all of them."""
    if sets == 1 or count >= len(rows):
        return rows[:count]
    return [rows[i * len(rows) // count] for i in range(count)]


def table_of(prompts: Sequence[Prompt | Record], chat: Chat, max_tokens: int) -> PromptTable:
    """A table of the given prompts, all of them used; a record may have a reference and columns too.

    Raises:
        Failure: exit 3, for a prompt that is empty, too long or no conversation; exit 4, for one without a template.
    """
    records = [prompt if isinstance(prompt, Mapping) else {"prompt": prompt} for prompt in prompts]
    numbered: Located = [(f"prompt {i}", record) for i, record in enumerate(records, 1)]
    given = read_conversations("prompt", "what was given", numbered, as_prompt)
    pairs = _fitted(given, chat, Fitting("prompt", "what was given", "prompt", max_tokens, "refuse"))
    rows = list(range(len(pairs)))
    return _table(Rows(pairs, {}), rows, rows, chat)


def same_prompts(
    table: PromptTable, rows: Sequence[int], data: PromptData, tokenizer: Tokenizer, max_tokens: int
) -> PromptTable:
    """The prompts of ``rows`` for another model, which has ``tokenizer``; references and columns stay with them.

    Raises:
        Failure: exit 3, for a prompt that is too long for it; exit 4, for a conversation without a template.
    """
    chat = chat_of(replace(data, system=None), tokenizer)  # the system's turn is in the conversations already
    given: Located = [(f"prompt {i}", table.records[row]) for i, row in enumerate(rows, 1)]
    pairs = _fitted(given, chat, Fitting("prompt", "the held-out prompts", "prompt", max_tokens, "refuse"))
    everything = list(range(len(pairs)))
    return _table(Rows(pairs, {}), everything, everything, chat)


def _table(rows: Rows, train: list[int], heldout: list[int], chat: Chat) -> PromptTable:
    records, tokens = [record for record, _ in rows.rows], [ids for _, ids in rows.rows]
    texts = [
        "\n".join(turn["content"] for turn in record["messages"]) if "messages" in record else record["prompt"]
        for record in records
    ]
    spoken = any("messages" in record for record in records)
    tokenizer = chat.ending_turns() if spoken else chat.tokenizer
    return PromptTable(records, tokens, train, heldout, tokenizer, rows.told | chat.notes(texts, spoken))


def _split(prompts: list[str], heldout: int, seed: int) -> tuple[list[int], list[int]]:
    distinct = list(dict.fromkeys(prompts))
    part = heldout_part(len(distinct), heldout)
    if part == 0:
        return list(range(len(prompts))), [i % len(prompts) for i in range(heldout or FALLBACK)]
    held = {distinct[i] for i in split(len(distinct), part, seed)[1]}
    rows = [prompts.index(prompt) for prompt in distinct if prompt in held]
    return [i for i, prompt in enumerate(prompts) if prompt not in held], rows


def _read(key: str, name: Named, embedded: str, data: PromptData, chat: Chat, room: int) -> Rows:
    fitting = Fitting(key, names_text(name), "prompt", room, data.too_long)
    rows = _fitted(prompt_records(key, name, data, embedded).records, chat, fitting)
    return Rows(rows, {} if is_own(name) else fitting.notes())


def _fitted(records: Located, chat: Chat, fitting: Fitting) -> list[Row]:
    """The prompts that can be used, with their tokens; of one that is cut what is left of it.

    Raises:
        Failure: exit 3, for a record that is no prompt, or if no prompt can be used.
    """
    rows = []
    for location, record in records:
        try:
            record, ids = _shown(record, chat)
        except Unreadable as fault:
            fitting.refuse(location, str(fault))
            continue
        if not ids:
            fitting.leave_out_empty(location, "the prompt is empty, and the tokenizer has no start token")
            continue
        if len(ids) > fitting.room:
            shorter = _cut(record, ids, chat, fitting.room) if fitting.too_long == "cut" else (record, ids)
            if not fitting.cuts(location, len(ids), len(shorter[1])):
                continue
            record, ids = shorter
        fitting.add(location, record["prompt"], not record["prompt"].strip())
        rows.append((record, ids))
    fitting.check()
    return rows


def _cut(record: Record, ids: list[int], chat: Chat, room: int) -> Row:
    """What is left of a prompt of more than ``room`` tokens: its last tokens, of a conversation its last turns.

    If nothing fits that the model could read, it is the prompt as it is.
    """
    if "messages" in record:
        return next((each for each in _later_turns(record, chat) if len(each[1]) <= room), (record, ids))
    start = list(chat.tokenizer.start)
    start = start if ids[: len(start)] == start else []
    if len(start) >= room:
        return record, ids
    ids = start + ids[len(ids) - room + len(start) :]
    return {**record, "prompt": chat.tokenizer.decode(ids)}, ids


def _later_turns(record: Record, chat: Chat) -> Iterator[Row]:
    """A conversation without its oldest turns, ever more of them: the system's stays, and a turn of the user's is next.

    What the template refuses is left out.
    """
    turns = record["messages"]
    system = turns[:1] if turns[0]["role"] == "system" else []
    for i in range(len(system) + 1, len(turns)):
        if turns[i]["role"] == "user":
            with suppress(Unreadable):
                yield _shown({**record, "messages": [*system, *turns[i:]]}, chat)


def _shown(record: Record, chat: Chat) -> Row:
    """A record as the model is shown it, and its tokens.

    Raises:
        Failure: exit 4, for a conversation without a template.
        Unreadable: the record is no prompt, or the template refuses its conversation.
    """
    if fault := prompt_fault(record):
        raise Unreadable(fault)
    messages = chat.messages(record["messages"] if "messages" in record else record["prompt"])
    if messages is None:
        return record, chat.tokenizer.encode(record["prompt"]) or list(chat.tokenizer.start)
    return {**record, "messages": messages, "prompt": prompt_text(messages)}, chat.prompt(messages)
