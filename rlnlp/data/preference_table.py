"""Judged answers as a reward model reads them: their tokens, and which rows are trained on and which measured on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from rlnlp.config.data import Named, PreferenceData, names_text
from rlnlp.data.answers import Answer
from rlnlp.data.fitting import TooLong, held_out
from rlnlp.data.judged import Judged
from rlnlp.data.order import choosing_and_reporting
from rlnlp.data.preferences import Judgements, read_judgements
from rlnlp.data.records import bad_lines_error
from rlnlp.data.sources import is_own
from rlnlp.data.units import Parts, parts_of, trained_on
from rlnlp.errors import Exit, Failure, counted, one_line
from rlnlp.models.chat import Prompt, Unreadable, conversation_text
from rlnlp.models.text_tokens import TextReader, TextTokens

ADVICE = "\nto leave out what is too long: data.too_long=drop; to shorten it: data.too_long=cut"


class Tokenized(NamedTuple):
    """A row with the tokens of its prompt and each of its answers (K,)."""

    row: Judged
    texts: tuple[TextTokens, ...]


@dataclass(frozen=True)
class PreferenceTable:
    """Judged answers with their tokens; ``train`` and ``heldout`` are the numbers of the rows to use for each.

    ``units`` (rows,) has the number of the prompt, or group, of each row. ``heldout_is_separate``: no row that is
    measured on is of a unit that is trained on. ``told`` is what became of rows that cannot be used, that are there
    twice, or that say the opposite of another: a line for each kind, by its name.
    """

    rows: list[Tokenized]
    units: list[int]
    train: list[int]
    heldout: list[int]
    heldout_is_separate: bool
    told: Mapping[str, str]

    @property
    def notes(self) -> list[str]:
        """The lines of ``told``."""
        return list(self.told.values())

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of the longest text of each row."""
        return [max(map(len, each.texts)) for each in self.rows]

    def choosing_and_reporting(self, seed: int) -> tuple[list[int], list[int]]:
        """The held-out rows that choose the best step, and those that report on it, of other units if possible."""
        choosing, reporting = choosing_and_reporting([self.units[r] for r in self.heldout], 2, seed)
        return [self.heldout[i] for i in choosing], [self.heldout[i] for i in reporting]

    def shuffled(self, rng: np.random.Generator) -> "PreferenceTable":
        """The same with labels that say nothing: of each pair either answer is preferred; ratings are mixed up."""
        rows = []
        for each in self.rows:
            turned = rng.integers(2, size=len(each.row.pairs)).tolist()
            pairs = [
                pair._replace(chosen=pair.rejected, rejected=pair.chosen) if turn else pair
                for pair, turn in zip(each.row.pairs, turned, strict=True)
            ]
            ratings = None if each.row.ratings is None else tuple(rng.permutation(each.row.ratings).tolist())
            rows.append(each._replace(row=replace(each.row, pairs=tuple(pairs), ratings=ratings)))
        return replace(self, rows=rows)

    def fraction(self, part: float) -> list[int]:
        """The training rows of the first ``part`` of their units, at least one unit."""
        distinct = list(dict.fromkeys(self.units[r] for r in self.train))
        kept = set(distinct[: max(1, round(part * len(distinct)))])
        return [r for r in self.train if self.units[r] in kept]


def preference_table(data: PreferenceData, heldout: int, seed: int, reader: TextReader, rated: bool) -> PreferenceTable:
    """The judged answers of the config as ``reader`` reads them; ``rated``: each row needs ratings.

    ``heldout`` is the number of prompts to measure on.

    Raises:
        Failure: exit 3, for rows that are no judgements or cannot be read, and if none can be used.
    """
    rows, found = _read("data.preferences", data.preferences, data, reader, rated)
    told = {} if is_own(data.preferences) else found.told
    if data.heldout is None:
        parts = parts_of(found.units, heldout, seed, data.group is not None)
        if not parts.heldout:
            parts = _measured_on_training(found.units)
        return PreferenceTable(rows, found.units, parts.train, parts.heldout, parts.separate, {**told, **parts.told})
    held, of_held = _read("data.heldout", data.heldout, data, reader, rated)
    known = set(trained_on(found.rows, of_held.rows))
    kept = [i for i in range(len(held)) if i not in known]
    if known:
        what = f"{len(known):,} of {counted(len(held), 'row')} left out: their prompts are trained on"
        told = {**told, "held-out-trained-on": f"held out: {what}"}
    if not kept:
        raise Failure(Exit.DATA, f"data.heldout: every prompt of {_name(data.heldout)} is trained on; give other ones")
    first = max(found.units) + 1
    count = len(rows)
    return PreferenceTable(
        [*rows, *(held[i] for i in kept)], [*found.units, *(first + of_held.units[i] for i in kept)],
        list(range(count)), list(range(count, count + len(kept))), True, {**told, **held_out(of_held.told)},
    )  # fmt: skip


def _measured_on_training(units: Sequence[int]) -> Parts:
    everything = list(range(len(units)))
    return Parts(everything, everything, False, {"heldout-trained-on": "measured on the rows that are trained on"})


def _read(
    key: str, named: Named, data: PreferenceData, reader: TextReader, rated: bool
) -> tuple[list[Tokenized], Judgements]:
    """The rows with their tokens.

    Raises:
        Failure: as ``preference_table``.
    """
    found = read_judgements(key, named, data, data.values, data.group, 1 if rated else 2)
    if rated and (unrated := [row.location for row in found.rows if row.ratings is None]):
        what = f"{key}: {counted(len(unrated), 'row')} of {_name(named)} without ratings, first {one_line(unrated[0])}"
        raise Failure(Exit.DATA, f"{what}\nalgo.loss=regression needs 'responses' with 'ratings'")
    return _tokenized(key, found, data.too_long, reader)


def table_of(key: str, judgements: Judgements, reader: TextReader) -> PreferenceTable:
    """All rows of ``judgements`` to train on and to measure on; what is too long is cut. ``key`` is named in messages.

    Raises:
        Failure: exit 3, for rows that cannot be read, and if none can be used.
    """
    rows, found = _tokenized(key, judgements, "cut", reader)
    everything = list(range(len(rows)))
    return PreferenceTable(rows, found.units, everything, everything, False, found.told)


def _tokenized(
    key: str, found: Judgements, too_long: TooLong, reader: TextReader
) -> tuple[list[Tokenized], Judgements]:
    reading = Remembered(reader)
    check_length(key, one_line(found.name), found.rows, reading, too_long)
    if too_long == "drop":
        found = found.without_long(lambda row: any(reading(row.prompt, answer)[1] for answer in row.answers))
    found = found.told_apart_by(lambda prompt, answer: reading(prompt, answer)[0])
    rows = [Tokenized(row, tuple(reading(row.prompt, answer)[0] for answer in row.answers)) for row in found.rows]
    return rows, found


class Remembered:
    """What a reader makes of each prompt and answer, read once."""

    def __init__(self, reader: TextReader) -> None:
        self.reader = reader
        self.found: dict[str, tuple[TextTokens, bool]] = {}

    def __call__(self, prompt: Prompt | None, answer: Answer) -> tuple[TextTokens, bool]:
        """The tokens, and whether some are left out; raises as ``TextReader.read``."""
        key = json.dumps([prompt, answer])
        if key not in self.found:
            self.found[key] = self.reader.read(prompt, answer)
        return self.found[key]


def check_length(key: str, name: str, rows: Sequence[Judged], reading: Remembered, too_long: TooLong) -> None:
    """Read every answer; where ``too_long`` is ``refuse``, none may be cut.

    Raises:
        Failure: exit 3, with the places of the rows that cannot be read.
    """
    faults, advice = [], ""
    for row in rows:
        try:
            cut = [reading(row.prompt, answer)[1] for answer in row.answers]
        except Unreadable as fault:
            faults.append(f"{row.location}: {fault}")
            continue
        if too_long == "refuse" and any(cut):
            advice = ADVICE
            limit = counted(reading.reader.max_tokens, "token")
            faults.append(f"{row.location}: longer than the model's context of {limit}")
    if faults:
        failure = bad_lines_error(key, name, faults)
        raise Failure(failure.code, f"{failure}{advice}", "answers-too-long" if advice else "")


def shown_prompt(prompt: Prompt | None) -> str:
    """A prompt as people read it; nothing if there is none."""
    return "" if prompt is None else prompt if isinstance(prompt, str) else conversation_text(prompt)


def _name(named: Named) -> str:
    return one_line(names_text(named))
