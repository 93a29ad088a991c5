"""The settings of the data: prompts to answer, texts or judgements to be fitted to; and the files that they name."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, fields
from glob import glob, has_magic
from pathlib import Path
from typing import Literal

from rlnlp.config.conversations import Conversations
from rlnlp.config.setting import Problem, setting

FORMATS = (".json", ".jsonl", ".csv", ".tsv", ".txt", ".parquet")
FILES = (
    "a file (.json, .jsonl, .csv, .tsv, .txt, .parquet, or one of them with .gz), a pattern 'a*.jsonl', a data set of"
    " the hub 'hub:owner/name', or a list"
)
Named = str | list[str]


@dataclass(frozen=True)
class Reading(Conversations):
    """How data files are read, and how the model is shown what they say."""

    columns: dict[str, str] = setting("what the data call a column: data.columns={prompt: question}")
    encoding: str = setting("how the characters of the files are written: utf-8, utf-16, cp1252, shift_jis ...")
    split: str = setting(
        "the split of a data set of the hub, or a part of it: 'train[:1000]'", trl="dataset_train_split"
    )
    heldout_split: str = setting("the same of held-out data", trl="dataset_test_split")
    allow_download: bool = setting("fetch a data set of the hub that is not in its local cache", resume="free")

    def problems(self) -> Iterator[Problem]:
        """Nothing named, columns that would be given two names, and what is no encoding of text."""
        yield from super().problems()
        for f in fields(self):
            if f.metadata["by_content"] and vars(self)[f.name] in ([], ""):
                yield f.name, "names nothing"
        taken = list(self.columns.values())
        for name in sorted({each for each in taken if taken.count(each) > 1}):
            yield "columns", f"gives '{name}' two names"
        try:
            "".encode(self.encoding)
            codecs.getincrementaldecoder(self.encoding)
        except (LookupError, ValueError):
            yield "encoding", f"must be an encoding that Python knows, such as utf-8, cp1252, got '{self.encoding}'"


@dataclass(frozen=True)
class PromptData(Reading):
    """What the policy is asked."""

    prompts: Named = setting(
        f"'embedded' or 'embedded/DOMAIN', or {FILES}", by_content=True, trl="dataset_name", verl="data.train_files"
    )
    heldout: Named | None = setting(
        "data of the same kind to measure on; null takes a seeded part of the training data",
        by_content=True, verl="data.val_files",
    )  # fmt: skip
    too_long: Literal["refuse", "drop", "cut"] = setting(
        "a prompt that leaves no room for the response: an error, left out, or only its last tokens",
        verl="data.truncation",
    )


@dataclass(frozen=True)
class TextData(Reading):
    """What a language model is fitted to."""

    texts: Named = setting(
        f"'embedded' or 'embedded/SET', or {FILES}", by_content=True, trl="dataset_name", verl="data.train_files"
    )
    best_fraction: float = setting(
        "only this fraction of the training texts, those with the highest score in their records", gt=0, le=1,
        resume="never",
    )  # fmt: skip
    turns: Literal["all", "last"] = setting(
        "of a conversation, learn every turn of the assistant, or only the last", trl="assistant_only_loss"
    )
    heldout: Named | None = setting(
        "data of the same kind to measure on; null takes a seeded part of the training data",
        by_content=True, verl="data.val_files",
    )  # fmt: skip
    too_long: Literal["refuse", "drop", "cut"] = setting(
        "a text longer than the context: an error, left out, or only its first tokens", verl="data.truncation"
    )


@dataclass(frozen=True)
class RlhfData(PromptData):
    """What the policy is asked, and where it is kept what people say of its responses."""

    feedback: str | None = setting(
        "feedback set: one file that several runs may share; null means feedback.sqlite in the run directory"
    )
    texts: Named | None = setting(
        "texts that are to stay likely: their perplexity is measured, and algo.policy.ptx_coef mixes them in (PPO-ptx):"
        f" 'embedded' or 'embedded/5000', or {FILES}; null for none",
        by_content=True,
    )


@dataclass(frozen=True)
class PreferenceData(Reading):
    """What a reward model is fitted to."""

    preferences: Named = setting(
        f"judged answers: 'embedded' or 'embedded/DOMAIN', or {FILES}", by_content=True,
        trl="dataset_name", verl="data.train_files",
    )  # fmt: skip
    heldout: Named | None = setting(
        "data of the same kind to measure on; null takes a seeded part of the training data",
        by_content=True, verl="data.val_files",
    )  # fmt: skip
    values: dict[str, float] = setting("what labels mean, 0: text1 is better, 1: text2, .5: neither: {a1: 0, a2: 1}")
    group: str | None = setting(
        "column whose values are held out as a whole, 'file' for the files; null holds out prompts", resume="never"
    )
    too_long: Literal["refuse", "drop", "cut"] = setting(
        "an answer that does not fit into the context behind its prompt: an error, left out, or cut: the prompt loses"
        " its first tokens, then the answer its last"
    )

    def problems(self) -> Iterator[Problem]:
        """Labels that mean nothing."""
        yield from super().problems()
        for label, value in self.values.items():
            if value not in (0, 0.5, 1):
                yield f"values.{label}", f"must be 0, 1 or .5, got {value:g}"


def as_text_data(data: RlhfData) -> TextData | None:
    """The texts that RLHF names, as the settings of sft that read them: ``data.columns`` are those of the prompts."""
    if data.texts is None:
        return None
    reading = {f.name: vars(data)[f.name] for f in fields(Reading)}
    return TextData(
        **{**reading, "columns": {}},
        texts=data.texts, best_fraction=1.0, turns="all", heldout=None, too_long=data.too_long,
    )  # fmt: skip


def names_in(value: Named) -> list[str]:
    """What a setting of data names, one by one: the items of a list, and of a pattern its files in sorted order."""
    return [name for item in ([value] if isinstance(value, str) else value) for name in _matches(item)]


def names_text(value: Named) -> str:
    """What a setting of data names, as it was typed, in one text."""
    return value if isinstance(value, str) else " + ".join(value)


def path_of(name: str) -> Path:
    """The path that ``name`` is, with the home folder for ``~``."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # of a user that is not there
        return Path(name)


def is_pattern(name: str) -> bool:
    """True if ``name`` stands for the files that match it."""
    return has_magic(name)


def _matches(name: str) -> list[str]:
    """The files of a pattern; the name itself where there are none, and where a file bears it as it stands."""
    path = path_of(name)
    try:
        if not has_magic(name) or path.exists():
            return [name]
        return sorted(each for each in glob(str(path), recursive=True) if Path(each).is_file()) or [name]
    except (OSError, ValueError):  # a name that no file can have is told when it is read
        return [name]
