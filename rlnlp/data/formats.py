"""The formats of data files: each turns the text of a file into rows, with the number of each row's line."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Record = dict[str, Any]
Row = tuple[int, Record | str]  # the line of a row, and its record or what is wrong with it
Cells = tuple[int, list[str] | str]  # the line of a row of a table, and its cells or what is wrong with it
LARGEST_CELL = 2**31 - 1  # characters; the C long of every platform has room for it


def json_rows(text: str, _: str) -> Iterator[Row]:
    """One list of objects; or objects one after the other, each on a line or laid out over several."""
    if text.lstrip().startswith("["):
        return _json_list(text)
    first = next((line for line in text.split("\n") if line.strip()), "")
    return _json_stream(text) if isinstance(_json_value(first), str) else jsonl_rows(text, "")


def jsonl_rows(text: str, _: str) -> Iterator[Row]:
    """An object on each line."""
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("[") and isinstance(_json_value(first), str) and first.strip() in ("[", "[{"):
        yield from _json_list(text)  # a list that is laid out over lines
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, _json_value(line)


def csv_rows(text: str, _: str) -> Iterator[Row]:
    """A table with commas; with semicolons or tabs, if its header has no comma but these, as spreadsheets write it."""
    header, _, rest = text.lstrip().partition("\n")
    if said := re.fullmatch(r"sep=(.)\r?", header):  # a line of spreadsheets in front of the header
        return ((number + 1, row) for number, row in _records(_quoted(rest, said[1])))
    delimiter = next((mark for mark in ",;\t" if mark in header), ",")
    return tsv_rows(text, "") if delimiter == "\t" else _records(_quoted(text, delimiter))


def tsv_rows(text: str, _: str) -> Iterator[Row]:
    """A table with tabs: each line a row, if all have as many cells as the header; else quoted as a table with commas.

    Many such tables hold quotation marks that quote nothing.
    """
    return _records(_unquoted(text) or _quoted(text, "\t"))


def txt_rows(text: str, field: str) -> Iterator[Row]:
    """A text on each line, as ``{field: line}``."""
    for number, line in enumerate(text.split("\n"), 1):
        if stripped := line.strip():
            yield number, {field: stripped}


ROWS: dict[str, Callable[[str, str], Iterator[Row]]] = {
    ".json": json_rows, ".jsonl": jsonl_rows, ".csv": csv_rows, ".tsv": tsv_rows, ".txt": txt_rows,
}  # fmt: skip


def _json_value(text: str) -> Record | str:
    try:
        return _object(json.loads(text))
    except RecursionError:
        return "nested too deeply"
    except ValueError as error:
        return f"not valid JSON ({error})"


def _object(value: Any) -> Record | str:
    return value if isinstance(value, dict) else f"must be an object, got {type(value).__name__}"


def _json_list(text: str) -> Iterator[Row]:
    """The items of a list, each with the line that it begins on."""
    position, begun, lines = text.index("[") + 1, False, _LineCounter(text)
    while True:
        position = _behind_space(text, position)
        mark = text[position : position + 1]
        if mark == "]":
            rest = _behind_space(text, position + 1)
            if rest < len(text):
                yield lines.at(rest), "more stands behind the end of the list"
            return
        if begun and mark != ",":
            yield lines.at(position), "the list does not end" if not mark else "not valid JSON (',' or ']' is missing)"
            return
        position = _behind_space(text, position + 1) if begun else position
        begun = True
        found, end = _scanned(text, position)
        yield lines.at(position), found
        if end is None:
            return
        position = end


def _json_stream(text: str) -> Iterator[Row]:
    """Objects one after the other, wherever their lines end."""
    position, lines = 0, _LineCounter(text)
    while (position := _behind_space(text, position)) < len(text):
        found, end = _scanned(text, position)
        yield lines.at(position), found
        if end is None:
            return
        position = end


def _scanned(text: str, position: int) -> tuple[Record | str, int | None]:
    """The record that begins at ``position`` and where it ends; or what is wrong with it, and None for no JSON."""
    try:
        value, end = json.JSONDecoder().raw_decode(text, position)
    except RecursionError:
        return "nested too deeply", None
    except ValueError as error:
        return f"not valid JSON ({error})", None
    return _object(value), end


def _behind_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


class _LineCounter:
    """The numbers of lines at positions that only grow, each line counted once."""

    def __init__(self, text: str) -> None:
        self._text, self._position, self._line = text, 0, 1

    def at(self, position: int) -> int:
        """The number of the line that ``position`` is on."""
        self._line += self._text.count("\n", self._position, position)
        self._position = position
        return self._line


@contextmanager
def _cells_of_any_size() -> Iterator[None]:
    before = csv.field_size_limit(LARGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _quoted(text: str, delimiter: str) -> list[Cells]:
    with _cells_of_any_size():  # the limit is the process's: all rows are read before it is given back
        return list(_cells(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)))


def _cells(table: Any) -> Iterator[Cells]:
    try:
        for cells in table:
            yield table.line_num, cells
    except csv.Error as error:
        yield table.line_num, f"not valid CSV ({error})"


def _unquoted(text: str) -> list[Cells]:
    """The cells of a table with tabs, if each line is a row; else none."""
    lines = enumerate(text.split("\n"), 1)
    rows = [(number, line.removesuffix("\r").split("\t")) for number, line in lines if line.strip()]
    width = len(rows[0][1]) if rows else 0
    if width < 2 or any(len(cells) != width or "\r" in "".join(cells) for _, cells in rows):
        return []
    return [(number, [_without_quotes(cell) for cell in cells]) for number, cells in rows]


def _without_quotes(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if re.fullmatch(r'"(?:[^"]|"")*"', cell) else cell


def _records(table: Iterable[Cells]) -> Iterator[Row]:
    """The records of a table, of which the first row has the names."""
    names: list[str] | None = None
    for number, cells in table:
        if isinstance(cells, str):
            yield number, cells
        elif not any(cells) and len(cells) != 1:
            continue  # a blank line, or one that a spreadsheet left below its rows
        elif names is None:
            names = [cell.strip() for cell in cells]
            if twice := next((name for name in names if name and names.count(name) > 1), None):
                yield number, f"the header has the column '{twice}' twice"
                return
        elif len(cells) != len(names):
            yield number, "does not have as many fields as the header"
        else:
            yield number, {name: cell for name, cell in zip(names, cells, strict=True) if name}
