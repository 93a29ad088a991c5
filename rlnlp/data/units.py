"""Judged answers that belong together, and splits that never part them."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlnlp.data.judged import Judged
from rlnlp.data.order import split
from rlnlp.data.sources import heldout_part
from rlnlp.errors import counted
from rlnlp.models.chat import Prompt
from rlnlp.rng import stream


@dataclass(frozen=True)
class Parts:
    """The rows to train on and those to measure on, in ascending order; the same ones if ``separate`` is False.

    ``told`` says so, by a name.
    """

    train: list[int]
    heldout: list[int]
    separate: bool
    told: Mapping[str, str]


def prompt_key(prompt: Prompt | None) -> Hashable:
    """What makes a prompt the same as another, whatever spaces are in it; None for one that asks nothing."""
    if prompt is None or isinstance(prompt, str):
        return _flat(prompt or "") or None
    turns = tuple((message["role"], _flat(message["content"])) for message in prompt)
    return turns if any(role == "user" for role, _ in turns) else None


def units_of(rows: Sequence[Judged]) -> list[int]:
    """The number (0, 1, ...) of the unit of each row, in the order of their first rows.

    Rows of a group are a unit; without a group, those to the same prompt; without a prompt, those that share a text,
    and whatever shares a text with these in turn.
    """
    root: dict[Hashable, Hashable] = {}

    def find(key: Hashable) -> Hashable:
        root.setdefault(key, key)
        while root[key] != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    for row in rows:
        first, *others = _keys(row)
        for other in others:
            root[find(other)] = find(first)
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(find(next(_keys(row))), len(numbers)) for row in rows]


def parts_of(units: Sequence[int], size: int, seed: int, grouped: bool) -> Parts:
    """A seeded split of rows by their ``units``, of which ``size``, at most a tenth, are held out.

    Of units that are ``grouped`` by a column one is held out at least. A unit of more than half of all rows is trained
    on. Where none can be held out, the first ``size`` units are measured on though they are trained on.
    """
    everything, rows_in = list(range(len(units))), Counter(units)
    if size == 0:
        return Parts(everything, [], False, {})
    small = [unit for unit, count in rows_in.items() if 2 * count <= len(units)]
    part = min(max(heldout_part(len(rows_in), size), 1 if grouped else 0), len(small))
    held = {small[i] for i in split(len(small), part, seed)[1]}
    if not held:
        measured = set(list(rows_in)[:size])
        what = counted(len(rows_in), "group" if grouped else "distinct prompt")
        text = f"measured on rows that are trained on: too few to hold some out ({what})"
        return Parts(everything, [i for i in everything if units[i] in measured], False, {"heldout-trained-on": text})
    train = [i for i in everything if units[i] not in held]
    return Parts(train, [i for i in everything if units[i] in held], True, {})


def folds_of(units: Sequence[int], count: int, seed: int) -> list[list[int]]:
    """The rows of at most ``count`` folds, each in ascending order: every unit is in one of them, as a whole.

    The folds have the same number of units, or one more; there are no more folds than units.
    """
    distinct = list(dict.fromkeys(units))
    count = min(count, len(distinct))
    shuffled = stream(seed, "folds").permutation(len(distinct)).tolist()
    fold = {distinct[unit]: i % count for i, unit in enumerate(shuffled)}
    return [[row for row, unit in enumerate(units) if fold[unit] == i] for i in range(count)]


def trained_on(train: Sequence[Judged], heldout: Sequence[Judged]) -> list[int]:
    """The positions of those ``heldout`` rows, of a file of their own, that belong to a unit of ``train``."""
    units = units_of([*train, *heldout])
    known = set(units[: len(train)])
    return [i for i, unit in enumerate(units[len(train) :]) if unit in known]


def _keys(row: Judged) -> Iterator[Hashable]:
    """What ties a row to others."""
    if row.group is not None:
        yield "group", row.group
    elif (prompt := prompt_key(row.prompt)) is not None:
        yield "prompt", prompt
    else:
        yield from (("text", _flat(text)) for text in row.texts)


def _flat(text: str) -> str:
    return " ".join(text.split())
