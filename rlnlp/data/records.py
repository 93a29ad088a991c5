"""Read data files: .jsonl, .csv, .txt. Bad lines are reported with their numbers."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlnlp.errors import Exit, Failure, counted, one_line

ASSETS = Path(__file__).resolve().parent.parent / "assets"
MAX_FILE_SIZE = 2**30  # bytes
SAMPLE = 2**20  # bytes at the beginning of a file that is too large to be read twice
MAX_REPORTED = 5  # bad lines
Record = dict[str, Any]


def embedded_set(name: str, kind: str) -> Path | None:
    """The file of the data set ``embedded/SET``, if the package has it; ``kind`` is "prompts" or "texts"."""
    prefix, _, data_set = name.partition("/")
    path = ASSETS / data_set / f"{kind}.jsonl"
    return path if prefix == "embedded" and data_set and path.is_file() else None


def read_records(name: str, key: str, text_field: str, most: int | None = None) -> list[tuple[str, Record]]:
    """The records of a file in order, as (location, record) pairs; the location is ``file:line``.

    A line of a .txt file becomes ``{text_field: line}``. ``key`` is the setting with the file's name, for messages.
    Of a file of more than ``most`` bytes only the whole records among its first ``SAMPLE`` are read.

    Raises:
        Failure: exit 3, if the file cannot be read or has lines that are not records.
    """
    path = Path(name).expanduser()
    try:
        if not path.is_file():
            raise Failure(Exit.DATA, f"{key}: {'not a regular file' if path.exists() else 'no such file'}: {name}")
        if path.stat().st_size > MAX_FILE_SIZE:
            raise Failure(Exit.DATA, f"{key}: {name} is larger than {MAX_FILE_SIZE >> 20} MiB; use a part of it")
        part = most is not None and path.stat().st_size > most
        with path.open("rb") as file:
            content = file.read(SAMPLE if part else -1)
    except OSError as error:
        raise Failure(Exit.DATA, f"{key}: {name} cannot be read: {error.strerror}") from error
    reader = {".jsonl": _jsonl, ".csv": _csv, ".txt": _txt}.get(path.suffix.lower())
    if reader is None:
        raise Failure(Exit.DATA, f"{key}: {name} must end in .jsonl, .csv or .txt")
    records: list[tuple[str, Record]] = []
    faults = []
    content = (content[: content.rfind(b"\n") + 1] if part else content).removeprefix(b"\xef\xbb\xbf")
    read = reader(content, text_field)
    for number, record in list(read)[:-1] if part else read:  # the last row of a part may be cut off
        if isinstance(record, str):
            faults.append(f"{path.name}:{number}: {one_line(record)}")
        else:
            records.append((f"{path.name}:{number}", record))
    if faults:
        raise bad_lines_error(key, name, faults)
    if not records and not part:
        raise Failure(Exit.DATA, f"{key}: {name} is empty")
    return records


def bad_lines_error(key: str, name: str, faults: list[str]) -> Failure:
    """The error (exit 3) for a file with bad lines: the first faults, and the number of the others."""
    more = f" (+{len(faults) - MAX_REPORTED} more)" if len(faults) > MAX_REPORTED else ""
    return Failure(
        Exit.DATA, f"{key}: {counted(len(faults), 'bad line')} in {name}\n" + "; ".join(faults[:MAX_REPORTED]) + more
    )


def text_fault(record: Record, field: str) -> str | None:
    """The reason why ``record[field]`` is not a valid text, or None."""
    if field not in record:
        return f"no field '{field}' (it has: {', '.join(map(str, record)) or 'none'})"
    value = record[field]
    if not isinstance(value, str):
        return f"'{field}' must be text, got {type(value).__name__}"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"'{field}' has half a surrogate pair, which is not valid text"
    return None


def _jsonl(content: bytes, _: str) -> Iterator[tuple[int, Record | str]]:
    for number, raw in enumerate(content.split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            value = json.loads(raw.decode())
        except UnicodeDecodeError:
            yield number, "not UTF-8"
        except RecursionError:
            yield number, "nested too deeply"
        except ValueError as error:
            yield number, f"not valid JSON ({error})"
        else:
            yield number, value if isinstance(value, dict) else f"must be an object, got {type(value).__name__}"


def _csv(content: bytes, _: str) -> Iterator[tuple[int, Record | str]]:
    try:
        table = csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True)
        for row in table:
            uneven = None in row or None in row.values()
            yield table.line_num, "does not have as many fields as the header" if uneven else dict(row)
    except UnicodeDecodeError as error:
        yield content[: error.start].count(b"\n") + 1, "not UTF-8"
    except csv.Error as error:
        yield table.reader.line_num, f"not valid CSV ({error})"


def _txt(content: bytes, field: str) -> Iterator[tuple[int, Record | str]]:
    for number, raw in enumerate(content.split(b"\n"), 1):
        try:
            line = raw.decode().strip()
        except UnicodeDecodeError:
            yield number, "not UTF-8"
            continue
        if line:
            yield number, {field: line}
