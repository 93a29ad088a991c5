"""What ``data.prompts``, ``data.texts`` and ``data.heldout`` stand for: records, read without a tokenizer or torch."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rlnlp.config.data import PromptData, TextData
from rlnlp.data.records import ASSETS, Record, bad_lines_error, embedded_set, read_records, text_fault
from rlnlp.embedded.grammar import corpus
from rlnlp.errors import Exit, Failure

FIELDS = ("prompt", "reference")  # of a record of prompts; what else it has are columns
EMBEDDED_TEXTS = 60_000
GENERATED = re.compile(r"embedded(?:/([1-9][0-9]{0,6}))?")  # embedded/5000: the first 5,000 of the grammar's texts
Located = list[tuple[str, Record]]  # each record with its place, file:line


def prompt_records(key: str, name: str, embedded: str = "prompts.jsonl", most: int | None = None) -> Located:
    """The records of prompts that the setting ``key`` means by ``name``; at most about ``most`` bytes of a file.

    ``embedded`` is the file of the package that holds all domains of the embedded language.

    Raises:
        Failure: exit 2, for a domain that is not embedded; exit 3, for a file that cannot be read.
    """
    if not is_embedded_language(name):
        return read_records(str(embedded_set(name, "prompts") or name), key, "prompt", most)
    records, domain = read_records(str(ASSETS / embedded), key, "prompt"), name.partition("/")[2]
    domains = sorted({record["domain"] for _, record in records})
    if domain and domain not in domains:
        raise Failure(
            Exit.CONFIG, f"{key} must be embedded, or embedded/DOMAIN with one of {', '.join(domains)}, got '{name}'"
        )
    return [(location, record) for location, record in records if domain in ("", record["domain"])]


def text_records(key: str, name: str, best: float = 1.0, most: int | None = None) -> Located:
    """The records of texts that the setting ``key`` means by ``name``, the ``best`` fraction of them by their score.

    With ``most``, about so many bytes of a file, and one of the grammar's texts.

    Raises:
        Failure: exit 3, for a file that cannot be read, or a record without a score where one is needed.
    """
    count = generated_texts(name)
    if count is not None:
        records: Located = [("", {"text": text}) for text in corpus.texts(count if most is None else 1, 0)]
    else:
        records = read_records(str(embedded_set(name, "texts") or name), key, "text", most)
    return _best(key, records, best) if best < 1 else records


def generated_texts(name: str) -> int | None:
    """How many texts of the grammar ``name`` means; None if it means a file."""
    generated = GENERATED.fullmatch(name)
    return int(generated[1] or EMBEDDED_TEXTS) if generated else None


def is_embedded_language(name: str) -> bool:
    """True for the prompts of the embedded language or one of its domains."""
    return name.partition("/")[0] == "embedded" and embedded_set(name, "prompts") is None


def heldout_name(prompts: str, heldout: str | None) -> str | None:
    """The held-out prompts, which the embedded language has of its own; None for a part of the training prompts."""
    return prompts if heldout is None and is_embedded_language(prompts) else heldout


def heldout_part(count: int, size: int) -> int:
    """How many of ``count`` distinct prompts or texts are held out, where no file is: ``size``, at most a tenth."""
    return min(size, count // 10)


def prompt_fault(record: Record) -> str | None:
    """Why a record is no prompt, or None."""
    fault = text_fault(record, "prompt")
    if fault is None and record.get("reference") is not None:
        fault = text_fault(record, "reference")
    return fault


def text_record_fault(record: Record) -> str | None:
    """Why a record is no text, and no prompt with its completion; or None."""
    named = with_completion(record)
    faults = [text_fault(named, field) for field in text_fields(named)]
    return next((fault for fault in faults if fault), None)


def with_completion(record: Record) -> Record:
    """``record`` with what samples.jsonl calls a response as its completion."""
    return (
        {**record, "completion": record["response"]} if "response" in record and "completion" not in record else record
    )


def text_fields(record: Record) -> tuple[str, ...]:
    """The fields that a record of texts must have."""
    return ("prompt", "completion") if "completion" in record else ("text",)


@dataclass(frozen=True)
class DataFile:
    """What a setting of data names: ``read`` gives its records, of a file that is too large only the beginning."""

    key: str
    name: str
    read: Callable[[int | None], Located]
    fault_of: Callable[[Record], str | None]

    def whole(self, most: int) -> bool:
        """True if ``read(most)`` gives all of it."""
        path = Path(self.name).expanduser()
        made = self.fault_of is text_record_fault and generated_texts(self.name) is not None
        return not made and not (path.is_file() and path.stat().st_size > most)

    def checked(self, most: int) -> list[Record]:
        """The records after all checks that need no tokenizer; of the grammar's texts, one.

        Raises:
            Failure: exit 2 or 3, for what is not there or is no such data.
        """
        records = self.read(most)
        faults = [f"{location}: {fault}" for location, record in records if (fault := self.fault_of(record))]
        if faults:
            raise bad_lines_error(self.key, self.name, faults)
        return [record for _, record in records]


def data_files(data: PromptData | TextData, heldout: int) -> list[DataFile]:
    """What a run reads that holds out ``heldout`` prompts or texts: to train on, and to measure on if that is apart."""
    if isinstance(data, PromptData):
        held = heldout_name(data.prompts, data.heldout) if heldout else None
        named = [("data.prompts", data.prompts, "prompts.jsonl"), ("data.heldout", held, "heldout.jsonl")]
        return [
            DataFile(key, name, partial(prompt_records, key, name, file), prompt_fault)
            for key, name, file in named
            if name is not None
        ]
    texts = [("data.texts", data.texts, data.best_fraction), ("data.heldout", data.heldout, 1.0)]
    return [
        DataFile(key, name, partial(text_records, key, name, best), text_record_fault)
        for key, name, best in texts
        if name is not None
    ]


def check_context_length(max_new_tokens: int, context: int) -> None:
    """Check that the longest response leaves at least one token of the context for the prompt.

    Raises:
        Failure: exit 2, if it does not.
    """
    if max_new_tokens >= context:
        raise Failure(
            Exit.CONFIG,
            f"sampler.max_new_tokens {max_new_tokens} fills the model's context of {context} tokens; lower it",
        )


def _best(key: str, records: Located, fraction: float) -> Located:
    """The ``fraction`` of the records with the highest ``score``, in the order of the file."""
    scores = [record.get("score") for _, record in records]
    for (location, _), score in zip(records, scores, strict=True):
        if not isinstance(score, float | int) or not math.isfinite(score):
            raise Failure(
                Exit.DATA, f"{key}: data.best_fraction needs a number 'score' in every record; {location} has {score!r}"
            )
    ranked = sorted(range(len(records)), key=lambda i: -float(scores[i] or 0))
    return [records[i] for i in sorted(ranked[: max(1, round(fraction * len(records)))])]
