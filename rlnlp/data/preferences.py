"""Files of judged answers: what can be used of them, what is left out and why, and what is told of the rest."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from rlnlp.config.data import Named, Reading, names_text
from rlnlp.data.answers import DIFFER, IDENTICAL, UNANSWERED, Answer, BadRecord, Unusable
from rlnlp.data.formats import Record
from rlnlp.data.judged import ALONE, CUT, EMPTY, LONG, TIE, Judged, UnknownLabel, Unnamed, judged
from rlnlp.data.records import bad_lines_error
from rlnlp.data.sources import FILE, preference_records
from rlnlp.data.units import prompt_key, units_of
from rlnlp.errors import Exit, Failure, counted, one_line
from rlnlp.models.chat import Prompt

NAMES = {  # what programs know a reason by
    DIFFER: "pairs-prompts-differ", UNANSWERED: "pairs-unanswered", IDENTICAL: "pairs-identical",
    EMPTY: "pairs-empty", ALONE: "pairs-alone", LONG: "pairs-dropped", CUT: "pairs-cut",
}  # fmt: skip
MAX_LINES = 20  # line numbers in a note
MAX_LABELS = 5  # labels in a message


@dataclass(frozen=True)
class LeftOut:
    """A row that says nothing: where it is, and why."""

    location: str
    reason: str


@dataclass(frozen=True)
class Judgements:
    """Judged answers to prompts.

    ``units`` (rows,) has the number of what each row belongs to: rows of a unit share the group, the prompt or, without
    a prompt, a text, and stay together in every split. ``group`` is the column of the groups; None if there are none.
    """

    key: str
    name: str
    rows: list[Judged]
    left_out: list[LeftOut]
    units: list[int]
    group: str | None

    @cached_property
    def told(self) -> dict[str, str]:
        """What was left out, and which pairs are there twice or say the opposite: a line for each, by its name."""
        return _left_out(self.left_out, len(self.rows) + len(self.left_out)) | _alike(self.rows)

    @property
    def notes(self) -> list[str]:
        """The lines of ``told``."""
        return list(self.told.values())

    def told_apart_by(self, look: Callable[[Prompt | None, Answer], Hashable]) -> "Judgements":
        """The same without the pairs whose answers ``look`` alike to a model, such as their tokens once they are cut.

        Raises:
            Failure: exit 3, if nothing is left.
        """
        kept, out = [], list(self.left_out)
        for row in self.rows:
            try:
                kept.append(row.told_apart_by(look))
            except Unusable as reason:
                out.append(LeftOut(row.location, str(reason)))
        return _judgements(self.key, self.name, kept, out, self.group)

    def without_long(self, long: Callable[[Judged], bool]) -> "Judgements":
        """The same without the rows that are too ``long`` for a model.

        Raises:
            Failure: exit 3, if nothing is left.
        """
        kept = [row for row in self.rows if not long(row)]
        left = {id(row) for row in kept}
        out = [LeftOut(row.location, LONG) for row in self.rows if id(row) not in left]
        return _judgements(self.key, self.name, kept, [*self.left_out, *out], self.group)


def read_judgements(
    key: str, named: Named, reading: Reading, values: Mapping[str, float], group: str | None, fewest: int = 2,
    most: int | None = None,
) -> Judgements:  # fmt: skip
    """The judged answers that the setting ``key`` means by ``named``, each row with at least ``fewest`` answers.

    ``values`` are the preferences of labels. ``group`` is the column to split by, None for the prompt; where
    the data have no column ``file``, that name stands for the file of a row. With ``most``, about so many bytes of a
    file are read.

    Raises:
        Failure: exit 2, for a domain that is not embedded; exit 3, for a file that cannot be read, for rows that are no
            judgements, and if none can be used.
    """
    name, columns = names_text(named), reading.columns
    records = preference_records(key, named, reading, FILE in (group, *columns.values()), most).records
    column = next((ours for ours, theirs in columns.items() if theirs == group), group)
    kept, out, faults = [], [], []
    for location, record in records:
        try:
            kept.append(judged(location, record, values, column, fewest))
        except Unusable as reason:
            out.append(LeftOut(location, str(reason)))
        except BadRecord as fault:
            faults.append((location, fault))
    if faults:
        raise _bad_rows(key, name, len(records), faults)
    return _judgements(key, name, kept, out, group)


def judgements_of(key: str, name: str, rows: list[Judged]) -> Judgements:
    """Rows that do not come from a file; ``name`` is what they come from.

    Raises:
        Failure: exit 3, if there is none.
    """
    return _judgements(key, name, rows, [], None)


def judgement_fault(record: Record, values: Mapping[str, float], column: str | None, fewest: int = 2) -> str | None:
    """Why a record is no judgement, or None; one that is left out is none the less one."""
    try:
        judged("", record, values, column, fewest)
    except BadRecord as fault:
        return str(fault)
    except Unusable:
        return None
    return None


def _judgements(key: str, name: str, rows: list[Judged], out: list[LeftOut], group: str | None) -> Judgements:
    if not rows:
        lines = _left_out(out, len(out)).values()
        raise Failure(Exit.DATA, f"{key}: no row of {one_line(name)} can be used\n" + "; ".join(lines), "no-pairs")
    return Judgements(key, name, rows, out, units_of(rows), group)


def _bad_rows(key: str, name: str, count: int, faults: Sequence[tuple[str, BadRecord]]) -> Failure:
    """The error for rows that are no judgements, with what to type if all lack the same, or if labels are unknown."""
    first = faults[0][1]
    if isinstance(first, Unnamed) and len(faults) == count and len({str(fault) for _, fault in faults}) == 1:
        return Failure(
            Exit.DATA,
            f"{key}: {one_line(name)}: {one_line(str(first), 300)}\n"
            f"to read other columns so: data.columns={{{', '.join(f'{field}: COLUMN' for field in first.lacking)}}}",
        )
    failure = bad_lines_error(key, name, [f"{location}: {one_line(str(fault))}" for location, fault in faults])
    labels = list(dict.fromkeys(fault.label for _, fault in faults if isinstance(fault, UnknownLabel)))
    if not labels:
        return failure
    pairs = ", ".join(f"{one_line(label, 30)}: NUMBER" for label in labels[:MAX_LABELS])
    advice = f"to say what labels mean (0: text1 is better, 1: text2, .5: neither): data.values={{{pairs}}}"
    return Failure(failure.code, f"{failure}\n{advice}")


def _left_out(out: Sequence[LeftOut], total: int) -> dict[str, str]:
    """A line for each reason why rows of ``total`` were left out."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in out:
        found[row.reason].append(row.location)
    return {
        name: f"{len(found[reason]):,} of {counted(total, 'row')} left out: {reason}; {_lines(found[reason])}"
        for reason, name in NAMES.items()
        if reason in found
    }


def _lines(locations: Sequence[str]) -> str:
    """Places ``file:line`` as people write them: the lines of each file."""
    shown = [location.rpartition(":")[::2] for location in locations[:MAX_LINES]]
    parts = []
    for file, places in groupby(shown, lambda place: place[0]):
        lines = [line for _, line in places]
        parts.append(f"{one_line(file)}: {'line' if len(lines) == 1 else 'lines'} {', '.join(lines)}")
    more = len(locations) - len(shown)
    return "; ".join(parts) + (f" (+{more:,} more)" if more else "")


def _alike(rows: Sequence[Judged]) -> dict[str, str]:
    """Pairs that an annotator judged the same way before, and pairs that say the opposite of another."""
    pairs = [(row, *pair) for row in rows for pair in _verdicts(row)]
    lines: dict[str, str] = {}
    seen: set[Hashable] = set()
    again = []
    for row, prompt, better, worse, tie in pairs:
        judgement = (prompt, frozenset((better, worse)) if tie else (better, worse), row.annotator)
        if judgement in seen:
            again.append(row.location)
        seen.add(judgement)
    if again:
        text = f"{len(again):,} of {counted(len(pairs), 'pair')} the same as one before; first {one_line(again[0])}"
        lines["pairs-repeated"] = text
    decided = {(prompt, better, worse) for _, prompt, better, worse, tie in pairs if not tie}
    opposed = [
        (row.location, (prompt, worse, better))
        for row, prompt, better, worse, tie in pairs
        if not tie and (prompt, worse, better) in decided
    ]
    if opposed:
        first, opposite = opposed[0]
        other = next(row.location for row, prompt, b, w, tie in pairs if not tie and (prompt, b, w) == opposite)
        text = f"{len(opposed):,} of {counted(len(pairs), 'pair')} say the opposite of another"
        lines["pairs-opposed"] = f"{text}; first {one_line(first)} and {one_line(other)}"
    return lines


def _verdicts(row: Judged) -> Iterator[tuple[Hashable, str, str, bool]]:
    """The prompt, the better and the worse answer of each pair, and whether they are as good as each other."""
    prompt, texts = prompt_key(row.prompt), row.texts
    for pair in row.pairs:
        yield prompt, texts[pair.chosen], texts[pair.rejected], pair.target == TIE
