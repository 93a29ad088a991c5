"""Files of judgements read into a feedback set, whoever made them: a set's own record, pairs, exports of platforms."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rlnlp.data.answers import BadRecord, Unusable
from rlnlp.data.formats import Record
from rlnlp.data.records import Located, bad_lines_error, read_records
from rlnlp.errors import Exit, Failure, counted, one_line
from rlnlp.feedback.incoming import Incoming, answered, named, standard
from rlnlp.feedback.lossless import is_lossless, read_lossless, seed_of
from rlnlp.feedback.merge import add_incoming
from rlnlp.feedback.platforms import from_argilla, from_label_studio, is_argilla, is_label_studio
from rlnlp.feedback.records import NewItem, content_sha256
from rlnlp.feedback.store import Store

KEY = "--import"  # for messages
LOSSLESS, LABEL_STUDIO, ARGILLA, PAIRS = "a feedback set", "Label Studio", "Argilla", "pairs"


class Kind(NamedTuple):
    """A kind of file, and how one of its records is read."""

    name: str
    judgements: Callable[[Record], Iterator[Incoming]]


@dataclass(frozen=True)
class Imported:
    """What was read: the kind of file, what was new, and why rows were left out with how many.

    ``unjudged`` of the new items are still to be judged.
    """

    kind: str
    rows: int
    items: int
    judgements: int
    left_out: dict[str, int]
    unjudged: int = 0

    def lines(self, name: str) -> list[str]:
        """What is told of it."""
        found = f"{counted(self.judgements, 'judgement')} and {counted(self.items, 'item')} added"
        waiting = f", {self.unjudged:,} to be judged" if self.unjudged else ""
        lines = [f"{one_line(name)} ({self.kind}, {counted(self.rows, 'record')}): {found}{waiting}"]
        return lines + [f"{counted(number, 'record')} left out: {why}" for why, number in self.left_out.items()]


def read_rows(name: str, key: str = KEY) -> Located:
    """The records of a file of judgements, which is not empty.

    Raises:
        Failure: exit 3, if it cannot be read.
    """
    return read_records(name, key, "text").records


def seed_in(rows: Located) -> int:
    """The seed of the set that a file is the record of, 0 for any other file."""
    return seed_of(rows[0][1]) if is_lossless(rows[0][1]) else 0


def import_rows(store: Store, name: str, rows: Located, overlap: int = 1) -> Imported:
    """Add what a file has and the set does not: all or nothing of it.

    Pairs that nobody has judged become items that ``overlap`` annotators are to judge.

    Raises:
        Failure: exit 3, with the places of what is wrong; exit 5, if it is not saved.
    """
    if is_lossless(rows[0][1]):
        try:
            items, judgements = read_lossless(store, rows)
        except BadRecord as fault:
            raise Failure(Exit.DATA, f"{KEY}: {one_line(name)}: {one_line(str(fault), 300)}") from fault
        return Imported(LOSSLESS, len(rows), items, judgements, {})
    judged = [(place, row) for place, row in rows if not is_unjudged(row)]
    fresh, left = unjudged_items(name, [(place, row) for place, row in rows if is_unjudged(row)], overlap)
    kind, found, left_out = judgements_in(name, judged) if judged else (PAIRS, [], {})
    left_out = dict(Counter(left) + Counter(left_out))
    if not found and not fresh:
        why = "; ".join(f"{reason} ({number})" for reason, number in left_out.items()) or "nothing is judged"
        raise Failure(Exit.DATA, f"{KEY}: no record of {one_line(name)} can be used: {why}", "no-pairs")
    unjudged = {new.uid for new in fresh} - {item.uid for item in store.items()}
    return Imported(kind, len(rows), *add_incoming(store.tables, found, fresh), left_out, len(unjudged))


def is_unjudged(row: Record) -> bool:
    """True for two texts without a preference, or responses without ratings or a ranking."""
    said = {name for name, value in row.items() if value is not None}
    pair = {"text1", "text2"} <= said and "preference" not in said
    several = isinstance(row.get("responses"), list) and not {"ratings", "ranking", "fields"} & said
    return pair or several


def unjudged_items(name: str, rows: Located, overlap: int) -> tuple[list[NewItem], dict[str, int]]:
    """Items to be judged, and why rows were left out with how many: two responses to compare, or one to rate.

    Raises:
        Failure: exit 3, with the places of rows that are none.
    """
    found, faults, left_out = [], [], Counter[str]()
    for location, row in rows:
        both = {key: row[key] for key in ("text1", "text2") if row.get(key) is not None}
        answers = both or {f"responses, item {i}": each for i, each in enumerate(row["responses"], 1)}
        try:
            prompt, responses = answered(row.get("prompt"), answers)
            new = NewItem(prompt, responses, overlap=overlap)
            found.append(replace(new, uid=f"file:{content_sha256(prompt, responses)}"))
        except Unusable as reason:
            left_out[str(reason)] += 1
        except (BadRecord, ValueError) as fault:
            faults.append(f"{location}: {one_line(str(fault), 300)}")
    if faults:
        raise bad_lines_error(KEY, name, faults)
    return found, dict(left_out)


def judgements_in(name: str, rows: Located, key: str = KEY) -> tuple[str, list[Incoming], dict[str, int]]:
    """The kind of a file, its judgements, and why rows were left out with how many.

    Raises:
        Failure: exit 3, with the places of rows that are no judgements.
    """
    kind = _kind(rows[0][1], Path(name).stem)
    found, faults, left_out = [], [], Counter[str]()
    for location, row in rows:
        try:
            found += list(kind.judgements(row))
        except Unusable as reason:
            left_out[str(reason)] += 1
        except BadRecord as fault:
            faults.append(f"{location}: {one_line(str(fault), 300)}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # fields of kinds that no maker writes
            faults.append(f"{location}: not as {kind.name} writes it ({one_line(str(error))})")
    if faults:
        raise bad_lines_error(key, name, faults)
    return kind.name, named(found), dict(left_out)


def _kind(first: Record, source: str) -> Kind:
    if is_argilla(first):
        return Kind(ARGILLA, from_argilla)
    if is_label_studio(first):
        return Kind(LABEL_STUDIO, from_label_studio)
    return Kind(PAIRS, lambda record: standard("", record, source))
