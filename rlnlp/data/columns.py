"""The columns of data: those that the settings rename, and names that data must not have."""

import re
from collections.abc import Mapping

from rlnlp.config.reward import RESERVED
from rlnlp.data.formats import Record
from rlnlp.data.records import Located
from rlnlp.errors import Exit, Failure

LIKELY = {  # what other data call a field
    "prompt": ("question", "query", "instruction", "input", "problem", "utterance", "text"),
    "text": ("content", "document", "sentence", "review", "body"),
    "completion": ("answer", "response", "output", "target"),
}


def renamed(records: Located, columns: Mapping[str, str]) -> Located:
    """``records`` with the columns that ``columns`` names under our names for them.

    What bore one of our names before gives way to it. Rows without the column are left as they are, since of several
    files each may have its own columns.
    """
    return [(location, _renamed(record, columns)) for location, record in records] if columns else records


def check_columns(key: str, name: str, records: Located, columns: Mapping[str, str]) -> None:
    """Check that the data that ``key`` names as ``name`` have each of the ``columns``.

    Held-out data may have our names already.

    Raises:
        Failure: exit 3, if no record has one of them.
    """
    known = {column for _, record in records for column in record} if columns else set()
    for ours, theirs in columns.items():
        if theirs not in known and not (key == "data.heldout" and ours in known):
            has = ", ".join(sorted(map(str, known))) or "none"
            raise Failure(Exit.DATA, f"data.columns.{ours}: {key} has no column '{theirs}' in {name} (it has: {has})")


def check_names(key: str, name: str, records: Located) -> None:
    """Check that no column has the name of something that a reward function is given.

    Raises:
        Failure: exit 3, with the settings to type.
    """
    names = (name for _, record in records for name in record if name in RESERVED and not _read(name, record[name]))
    taken = next(names, None)
    if taken is not None:
        raise Failure(
            Exit.DATA,
            f"{key}: {name} has a column '{taken}': a reward function is given its own '{taken}' under that name\n"
            f"give the column another name: data.columns={{my_{taken}: {taken}}}",
        )


def column_advice(fault: str, record: Record) -> str | None:
    """What to type where every record is like ``record`` and lacks a field; None if the fault is another."""
    found = re.match("no field '([a-z]+)'", fault)
    texts = [column for column, value in record.items() if isinstance(value, str) and column.isidentifier()]
    if found is None or not texts:
        return None
    theirs = next((column for column in LIKELY.get(found[1], ()) if column in texts), texts[0])
    return f"to read another column as it: data.columns={{{found[1]}: {theirs}}}"


def _read(name: str, value: object) -> bool:
    """True for the conversation of a record, which is no column of it."""
    return name == "messages" and isinstance(value, list)


def _renamed(record: Record, columns: Mapping[str, str]) -> Record:
    found = {ours: record[theirs] for ours, theirs in columns.items() if theirs in record}
    moved = {*found, *(columns[ours] for ours in found)}
    return {**found, **{name: value for name, value in record.items() if name not in moved}}
