"""Prompts with their references and columns: a table of rows, and batches of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlnlp.batching import left_padded
from rlnlp.config.schema import PromptData
from rlnlp.data.order import split
from rlnlp.data.records import ASSETS, Record, embedded_set, read_records, refused, text_fault
from rlnlp.errors import Exit, Failure
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.types import Prompts, Rollout, Texts

FIELDS = ("prompt", "reference")
FALLBACK = 64  # responses measured when there are no held-out prompts


@dataclass(frozen=True)
class PromptTable:
    """Rows of prompts, training and held-out ones together; ``train`` and ``heldout`` say which is which."""

    records: list[Record]
    tokens: list[list[int]]
    train: list[int]
    heldout: list[int]
    tokenizer: Tokenizer

    @property
    def apart(self) -> bool:
        """True if no held-out prompt is trained on."""
        trained = {self.records[r]["prompt"] for r in self.train}
        return not any(self.records[r]["prompt"] in trained for r in self.heldout)

    def batch(self, rows: Sequence[int], device: torch.device) -> Prompts:
        """The prompts of ``rows``, padded on the left."""
        return left_padded([self.tokens[r] for r in rows], rows, self.tokenizer.pad, device)

    def texts(self, rollout: Rollout) -> Texts:
        """The rollout in words, with what the data says beside each prompt."""
        rows = [self.records[r] for r in rollout.prompts.rows.tolist()]
        names = sorted({name for record in self.records for name in record} - set(FIELDS))
        kept = zip(rollout.prompts.rows.tolist(), rollout.responses.cpu(), rollout.mask.cpu(), strict=True)
        return Texts(
            [record["prompt"] for record in rows],
            [self.tokenizer.decode_rest(self.tokens[r], response[mask].tolist()) for r, response, mask in kept],
            [record.get("reference") for record in rows],
            {name: [record.get(name) for record in rows] for name in names},
        )


def prompt_table(data: PromptData, heldout: int, seed: int, tokenizer: Tokenizer, room: int) -> PromptTable:
    """The prompts of the config, none longer than ``room`` tokens.

    Held-out rows come from a file of their own; or a seeded part of the distinct prompts, at most a tenth of them;
    or, for ``heldout`` 0 or fewer than ten distinct prompts, they are training rows, round and round.

    Raises:
        Failure: exit 3, with file and line of each bad record.
    """
    train = _read("data.prompts", data.prompts, "prompts.jsonl", tokenizer, room)
    held_name = data.prompts if data.heldout is None and _embedded(data.prompts) else data.heldout
    if heldout and held_name is not None:
        apart = _read("data.heldout", held_name, "heldout.jsonl", tokenizer, room)[:heldout]
        both = train + apart
        rows = list(range(len(train))), list(range(len(train), len(both)))
    else:
        both, rows = train, _split([record["prompt"] for record, _ in train], heldout, seed)
    return PromptTable([r for r, _ in both], [t for _, t in both], *rows, tokenizer)


def table_of(records: list[Record], tokenizer: Tokenizer, room: int) -> PromptTable:
    """A table of the given records, all of them to be asked.

    Raises:
        Failure: exit 3, for a prompt that is empty or too long.
    """
    numbered = [(f"prompt {i}", record) for i, record in enumerate(records, 1)]
    pairs = _encoded("prompt", "the command line", numbered, tokenizer, room)
    rows = list(range(len(pairs)))
    return PromptTable([record for record, _ in pairs], [ids for _, ids in pairs], rows, rows, tokenizer)


def _split(prompts: list[str], heldout: int, seed: int) -> tuple[list[int], list[int]]:
    distinct = list(dict.fromkeys(prompts))
    part = min(heldout, len(distinct) // 10)
    if part == 0:
        return list(range(len(prompts))), [i % len(prompts) for i in range(heldout or FALLBACK)]
    apart = {distinct[i] for i in split(len(distinct), part, seed)[1]}
    held = [prompts.index(prompt) for prompt in distinct if prompt in apart]
    return [i for i, prompt in enumerate(prompts) if prompt not in apart], held


def _read(key: str, name: str, embedded: str, tokenizer: Tokenizer, room: int) -> list[tuple[Record, list[int]]]:
    if not _embedded(name):
        own_set = embedded_set(name, "prompts")
        return _encoded(key, name, read_records(str(own_set or name), key, "prompt"), tokenizer, room)
    records, domain = read_records(str(ASSETS / embedded), key, "prompt"), name.partition("/")[2]
    domains = sorted({record["domain"] for _, record in records})
    if domain and domain not in domains:
        raise Failure(
            Exit.CONFIG, f"{key} must be embedded, or embedded/ and one of {', '.join(domains)}, got '{name}'"
        )
    chosen = [(location, record) for location, record in records if domain in ("", record["domain"])]
    return _encoded(key, name, chosen, tokenizer, room)


def _embedded(name: str) -> bool:
    """True for the embedded language, or one domain of it."""
    return name.partition("/")[0] == "embedded" and embedded_set(name, "prompts") is None


def _encoded(
    key: str, name: str, records: list[tuple[str, Record]], tokenizer: Tokenizer, room: int
) -> list[tuple[Record, list[int]]]:
    faults, read = [], []
    for location, record in records:
        fault, ids = _encode(record, tokenizer, room)
        if fault is None:
            read.append((record, ids))
        else:
            faults.append(f"{location}: {fault}")
    if faults:
        raise refused(key, name, faults)
    return read


def _encode(record: Record, tokenizer: Tokenizer, room: int) -> tuple[str | None, list[int]]:
    fault = text_fault(record, "prompt")
    if fault is None and record.get("reference") is not None:
        fault = text_fault(record, "reference")
    if fault is not None:
        return fault, []
    ids = tokenizer.encode(record["prompt"]) or list(tokenizer.start)
    if not ids:
        return "the prompt is empty, and the tokenizer has no start token", []
    if len(ids) > room:
        return f"{len(ids)} tokens, but the model has room for {room} beside the response", []
    return None, ids


def check_room(room: int, max_new_tokens: int, context: int) -> None:
    """Refuse a response length that leaves no room for a prompt.

    Raises:
        Failure: exit 2.
    """
    if room < 1:
        raise Failure(
            Exit.CONFIG,
            f"sampler.max_new_tokens {max_new_tokens} fills the model's whole context of {context} tokens; lower it",
        )
