"""What ``data.prompts``, ``data.texts`` and ``data.heldout`` stand for: records, read without a tokenizer or torch."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rlnlp.config.data import Named, PromptData, Reading, TextData, names_in, names_text, path_of
from rlnlp.config.hub import is_hub
from rlnlp.data.columns import check_columns, check_names, column_advice, renamed
from rlnlp.data.formats import Record
from rlnlp.data.hub import hub_records
from rlnlp.data.messages import as_example, as_prompt, read_conversations
from rlnlp.data.records import ASSETS, Located, Read, bad_lines_error, embedded_set, read_records, text_fault
from rlnlp.embedded.grammar import corpus
from rlnlp.errors import Exit, Failure, one_line

FIELDS = ("prompt", "reference", "messages")  # of a record of prompts; what else it has are columns
FILE = "file"  # the column that stands for the file of a row
EMBEDDED_TEXTS = 60_000
MODERATION = "embedded/moderation"
GENERATED = re.compile(r"embedded(?:/([1-9][0-9]{0,6}))?")  # embedded/5000: the first 5,000 of the grammar's texts


def prompt_records(key: str, named: Named, reading: Reading, embedded: str, most: int | None = None) -> Read:
    """The records of prompts that the setting ``key`` means by ``named``; at most about ``most`` bytes of a file.

    ``embedded`` is the file of the package that holds all domains of the embedded language.

    Raises:
        Failure: exit 2, for a domain that is not embedded; exit 3, for a file that cannot be read.
    """
    found = _rows(key, named, reading, lambda name: _prompts(key, name, reading, embedded, most))
    records = read_conversations(key, names_text(named), found.records, as_prompt)
    check_names(key, one_line(names_text(named)), records)
    return Read(records, found.total)


def text_records(key: str, named: Named, reading: Reading, best: float = 1.0, most: int | None = None) -> Read:
    """The records of texts that the setting ``key`` means by ``named``, the ``best`` fraction of them by their score.

    With ``most``, about so many bytes of a file, and one of the grammar's texts.

    Raises:
        Failure: exit 3, for a file that cannot be read, or a record without a score where one is needed.
    """
    found = _rows(key, named, reading, lambda name: _texts(key, name, reading, most))
    records = read_conversations(key, names_text(named), found.records, as_example)
    if best == 1:
        return Read(records, found.total)
    total = None if found.total is None else _part(found.total, best)
    return Read(_best(key, records, best), total)


def preference_records(key: str, named: Named, reading: Reading, filed: bool = False, most: int | None = None) -> Read:
    """The records of judged answers that the setting ``key`` means by ``named``; about ``most`` bytes of a file.

    ``filed``: each record has the name of its file, without its ending, as the column ``FILE`` if it has no such one.

    Raises:
        Failure: exit 2, for a domain that is not embedded; exit 3, for a file that cannot be read.
    """

    def read(name: str) -> Read:
        found = _prompts(key, name, reading, "preferences.jsonl", most)
        stem = {FILE: _stem(path_of(name))} if filed else {}
        return Read([(location, {**stem, **record}) for location, record in found.records], found.total)

    return _rows(key, named, reading, read)


def text_rows(key: str, named: Named, reading: Reading) -> Located:
    """The records of files of texts, whatever fields they have: of a .txt file each line is a ``text``.

    ``embedded/moderation`` are the comments of the package, each with its ``category``.

    Raises:
        Failure: exit 3, for a file that cannot be read.
    """

    def read(name: str) -> Read:
        return _from_outside(key, str(ASSETS / "moderation.jsonl") if name == MODERATION else name, "text", reading)

    return _rows(key, named, reading, read).records


def file_prompts(key: str, named: Named, reading: Reading) -> Located:
    """The records of files of prompts, which may be named by no setting of a run, and need no column but a prompt.

    Raises:
        Failure: exit 3, for a file that cannot be read, or a record that is no prompt.
    """
    found = _rows(key, named, reading, lambda name: _from_outside(key, name, "prompt", reading)).records
    records = read_conversations(key, names_text(named), found, as_prompt)
    check_records(key, names_text(named), records, lambda record: prompt_fault({**record, "reference": None}))
    return records


def check_records(key: str, name: str, records: Located, fault_of: Callable[[Record], str | None]) -> None:
    """Check each record.

    Raises:
        Failure: exit 3, with the places of those that have a fault.
    """
    faults = [(location, fault) for location, record in records if (fault := fault_of(record))]
    alike = len(faults) == len(records) and len({fault for _, fault in faults}) == 1
    if alike and (advice := column_advice(faults[0][1], records[0][1])):
        raise Failure(Exit.DATA, f"{key}: {name}: {one_line(faults[0][1])}\n{advice}")
    if faults:
        raise bad_lines_error(key, name, [f"{location}: {fault}" for location, fault in faults])


def _rows(key: str, named: Named, reading: Reading, read: Callable[[str], Read]) -> Read:
    """Every row that is named, in the form that all else knows: ``read``, then under our names for its columns.

    Raises:
        Failure: what is wrong with any of what is named.
    """
    found, faults = [], []
    for name in names_in(named):
        try:
            found.append(read(name))
        except Failure as failure:
            faults.append(failure)
    if faults:
        raise Failure(min(each.code for each in faults), "\n".join(map(str, faults)))
    records, totals = [row for each in found for row in each.records], [each.total for each in found]
    known = [total for total in totals if total is not None]
    if len(known) == len(totals):  # else a column may be in what was not read
        check_columns(key, one_line(names_text(named)), records, reading.columns)
    return Read(renamed(records, reading.columns), sum(known) if len(known) == len(totals) else None)


def _prompts(key: str, name: str, reading: Reading, embedded: str, most: int | None) -> Read:
    if (own := embedded_set(name, "prompts")) is not None:
        return read_records(str(own), key, "prompt")
    if not is_embedded_language(name):
        return _from_outside(key, name, "prompt", reading, most)
    records, domain = read_records(str(ASSETS / embedded), key, "prompt").records, name.partition("/")[2]
    domains = sorted({record["domain"] for _, record in records})
    if domain and domain not in domains:
        raise Failure(
            Exit.CONFIG, f"{key} must be embedded, or embedded/DOMAIN with one of {', '.join(domains)}, got '{name}'"
        )
    chosen = [(location, record) for location, record in records if domain in ("", record["domain"])]
    return Read(chosen, len(chosen))


def _texts(key: str, name: str, reading: Reading, most: int | None) -> Read:
    count = generated_texts(name)
    if count is not None:
        return Read([("", {"text": text}) for text in corpus.texts(count if most is None else 1, 0)], count)
    if (own := embedded_set(name, "texts")) is not None:
        return read_records(str(own), key, "text")
    return _from_outside(key, name, "text", reading, most)


def _from_outside(key: str, name: str, field: str, reading: Reading, most: int | None = None) -> Read:
    """The rows of a data set of the hub, or of a file, whose lines are ``field`` if it has no columns."""
    return (
        hub_records(key, name, reading, most)
        if is_hub(name)
        else read_records(name, key, field, reading.encoding, most)
    )


def _stem(path: Path) -> str:
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).stem


def generated_texts(name: str) -> int | None:
    """How many texts of the grammar ``name`` means; None if it means a file."""
    generated = GENERATED.fullmatch(name)
    return int(generated[1] or EMBEDDED_TEXTS) if generated else None


def is_embedded_language(name: str) -> bool:
    """True for the prompts of the embedded language or one of its domains."""
    return name.partition("/")[0] == "embedded" and embedded_set(name, "prompts") is None


def is_own(named: Named) -> bool:
    """True if all that is named comes with the package."""
    return all(name.partition("/")[0] == "embedded" for name in names_in(named))


def heldout_name(prompts: Named, heldout: Named | None) -> Named | None:
    """The held-out prompts, which the embedded language has of its own; None for a part of the training prompts."""
    return prompts if heldout is None and all(map(is_embedded_language, names_in(prompts))) else heldout


def heldout_part(count: int, size: int) -> int:
    """How many of ``count`` distinct prompts or texts are held out, where no file is: ``size``, at most a tenth."""
    return min(size, count // 10)


def prompt_fault(record: Record) -> str | None:
    """Why a record is no prompt, or None."""
    fault = None if "messages" in record else text_fault(record, "prompt")
    if fault is None and record.get("reference") is not None:
        fault = text_fault(record, "reference")
    return fault


def text_record_fault(record: Record) -> str | None:
    """Why a record is no text, and no prompt with its completion; or None."""
    if "messages" in record:
        return None
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
class DataSource:
    """What the setting ``key`` names as ``name``: ``read`` gives its records, of a file that is too large a part."""

    key: str
    name: str
    read: Callable[[int | None], Read]
    fault_of: Callable[[Record], str | None]

    def checked(self, most: int) -> Read:
        """The records after all checks that need no tokenizer; of the grammar's texts, one.

        Raises:
            Failure: exit 2 or 3, for what is not there or is no such data.
        """
        found = self.read(most)
        check_records(self.key, self.name, found.records, self.fault_of)
        return found


def data_sources(data: PromptData | TextData, heldout: int) -> list[DataSource]:
    """What a run reads that holds out ``heldout`` prompts or texts: to train on, and to measure on if that is apart."""
    if isinstance(data, PromptData):
        held = heldout_name(data.prompts, data.heldout) if heldout else None
        named = [("data.prompts", data.prompts, "prompts.jsonl"), ("data.heldout", held, "heldout.jsonl")]
        return [
            DataSource(key, names_text(name), partial(prompt_records, key, name, data, file), prompt_fault)
            for key, name, file in named
            if name is not None
        ]
    texts = [("data.texts", data.texts, data.best_fraction), ("data.heldout", data.heldout, 1.0)]
    return [
        DataSource(key, names_text(name), partial(text_records, key, name, data, best), text_record_fault)
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
    return [records[i] for i in sorted(ranked[: _part(len(records), fraction)])]


def _part(count: int, fraction: float) -> int:
    return max(1, round(fraction * count))
