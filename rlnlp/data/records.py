"""Read data files: .jsonl, .csv, .txt. Every bad line is told with its number."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlnlp.errors import Exit, Failure, one_line

ASSETS = Path(__file__).resolve().parent.parent / "assets"
LARGEST_FILE, TOLD = 2**30, 5
Record = dict[str, Any]


def embedded_set(name: str, kind: str) -> Path | None:
    """The file of ``embedded/SET`` with its ``kind`` (prompts, texts), if the package has such a set of its own."""
    head, _, chosen = name.partition("/")
    path = ASSETS / chosen / f"{kind}.jsonl"
    return path if head == "embedded" and chosen and path.is_file() else None


def read_records(name: str, key: str, text_field: str) -> list[tuple[str, Record]]:
    """(location, record) of a file, in order; the location is ``file:line``. A line of .txt is ``{text_field: line}``.

    ``key`` is the setting that named the file, for messages.

    Raises:
        Failure: exit 3; the file cannot be read, or lines in it are not records.
    """
    path = Path(name).expanduser()
    try:
        if not path.is_file():
            raise Failure(Exit.DATA, f"{key}: {'not a regular file' if path.exists() else 'no such file'}: {name}")
        if path.stat().st_size > LARGEST_FILE:
            raise Failure(Exit.DATA, f"{key}: {name} is larger than {LARGEST_FILE >> 20} MiB; give a part of it")
        content = path.read_bytes()
    except OSError as error:
        raise Failure(Exit.DATA, f"{key}: {name} cannot be read: {error.strerror}") from error
    reader = {".jsonl": _jsonl, ".csv": _csv, ".txt": _txt}.get(path.suffix.lower())
    if reader is None:
        raise Failure(Exit.DATA, f"{key}: {name} must end in .jsonl, .csv or .txt")
    records: list[tuple[str, Record]] = []
    faults = []
    for number, found in reader(content.removeprefix(b"\xef\xbb\xbf"), text_field):
        if isinstance(found, str):
            faults.append(f"{path.name}:{number}: {one_line(found)}")
        else:
            records.append((f"{path.name}:{number}", found))
    if faults:
        raise refused(key, name, faults)
    if not records:
        raise Failure(Exit.DATA, f"{key}: {name} is empty")
    return records


def refused(key: str, name: str, faults: list[str]) -> Failure:
    """Exit 3 with the first faults of a file and the count of the others."""
    more = f" (+{len(faults) - TOLD} more)" if len(faults) > TOLD else ""
    return Failure(Exit.DATA, f"{key}: {len(faults)} bad lines in {name}\n" + "; ".join(faults[:TOLD]) + more)


def text_fault(record: Record, field: str) -> str | None:
    """Why ``record[field]`` is not usable text, or None."""
    if field not in record:
        return f"no field '{field}' (it has: {', '.join(map(str, record)) or 'none'})"
    value = record[field]
    if not isinstance(value, str):
        return f"'{field}' must be text, got {type(value).__name__}"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"'{field}' holds half a surrogate pair, which is no text"
    return None


def _jsonl(content: bytes, _: str) -> Iterator[tuple[int, Record | str]]:
    for number, raw in enumerate(content.split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            found = json.loads(raw.decode())
        except UnicodeDecodeError:
            yield number, "not UTF-8"
        except RecursionError:
            yield number, "nested too deeply"
        except ValueError as error:
            yield number, f"not valid JSON ({error})"
        else:
            yield number, found if isinstance(found, dict) else f"must be an object, got {type(found).__name__}"


def _csv(content: bytes, _: str) -> Iterator[tuple[int, Record | str]]:
    try:
        table = csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True)
        for row in table:
            odd = None in row or None in row.values()
            yield table.line_num, "has another number of fields than the header" if odd else dict(row)
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
