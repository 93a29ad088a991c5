"""Read data files of every format. Bad rows are reported with their lines, and what is no such file with its kind."""

import gzip
import io
import zlib
from pathlib import Path
from typing import IO, NamedTuple

from rlnlp.config.data import FORMATS, is_pattern, path_of
from rlnlp.data.encodings import decoded, guess
from rlnlp.data.formats import ROWS, Record
from rlnlp.data.parquet import parquet_rows
from rlnlp.errors import Exit, Failure, counted, one_line

ASSETS = Path(__file__).resolve().parent.parent / "assets"
MAX_FILE_SIZE = 2**30  # bytes, after decompression
SAMPLE = 2**20  # bytes at the beginning of a file that is too large to be read twice
MAX_REPORTED = 5  # bad lines
GZIP = b"\x1f\x8b"
NOT_TEXT = {
    b"PK\x03\x04": "a zip archive or a spreadsheet; save it as .csv", b"PAR1": "parquet; let it end in .parquet",
    b"\x1f\x9d": "compressed with compress; use gzip", b"BZh": "compressed with bzip2; use gzip",
    b"\xfd7zXZ\x00": "compressed with xz; use gzip", b"(\xb5/\xfd": "compressed with zstd; use gzip",
    b"%PDF": "a PDF", b"ARROW1": "an arrow file; save it as .parquet",
}  # fmt: skip
Located = list[tuple[str, Record]]  # each record with its place, file:line


class Read(NamedTuple):
    """Records in the order of their files; ``total`` is how many there are in all, None if only a part was read."""

    records: Located
    total: int | None


def embedded_set(name: str, kind: str) -> Path | None:
    """The file of the data set ``embedded/SET``, if the package has it; ``kind`` is "prompts" or "texts"."""
    prefix, _, data_set = name.partition("/")
    path = ASSETS / data_set / f"{kind}.jsonl"
    return path if prefix == "embedded" and data_set and path.is_file() else None


def read_records(name: str, key: str, text_field: str, encoding: str = "utf-8", most: int | None = None) -> Read:
    """The records of a file, each with its place ``file:line``.

    A line of a .txt file becomes ``{text_field: line}``. ``key`` is the setting with the file's name, for messages.
    Of a file of more than ``most`` bytes only the whole records among its first ``SAMPLE`` are read.

    Raises:
        Failure: exit 3, if the file cannot be read, is not written in ``encoding``, or has rows that are not records.
    """
    path = path_of(name)
    suffix = _format(key, name, path)
    content, part = _content(key, name, path, None if suffix == ".parquet" else most)  # its index is at its end
    if suffix == ".parquet":
        found = parquet_rows(key, name, content)
    else:
        text = _text(key, name, content, part, encoding)
        whole_lines = text[: text.rfind("\n") + 1] if part and suffix != ".json" else text  # a list may be one line
        found = list(ROWS[suffix](whole_lines, text_field))
    read = found[:-1] if part else found  # the last row of a part may be cut off
    faults = [f"{path.name}:{number}: {one_line(row)}" for number, row in read if isinstance(row, str)]
    if faults:
        raise bad_lines_error(key, name, faults)
    records = [(f"{path.name}:{number}", row) for number, row in read if not isinstance(row, str)]
    if not records and not part:
        raise Failure(Exit.DATA, f"{key}: {name} is empty")
    return Read(records, None if part else len(records))


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


def _format(key: str, name: str, path: Path) -> str:
    """The ending that tells the format, without that of gzip.

    Raises:
        Failure: exit 3, if there is no such file, or its ending is of no format.
    """
    try:
        if path.is_dir():
            raise Failure(Exit.DATA, f"{key}: {name} is a folder; name its files: {key}='{name.rstrip('/')}/*.jsonl'")
        if not path.is_file():
            none = "no file matches" if is_pattern(name) else "no such file"
            raise Failure(Exit.DATA, f"{key}: {'not a regular file' if path.exists() else none}: {name}")
    except OSError as error:
        raise Failure(Exit.DATA, f"{key}: {name} cannot be read: {error.strerror}") from error
    suffix = (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()
    if suffix not in FORMATS:
        *others, last = FORMATS
        raise Failure(Exit.DATA, f"{key}: {name} must end in {', '.join(others)} or {last}, or in one of them and .gz")
    return suffix


def _content(key: str, name: str, path: Path, most: int | None) -> tuple[bytes, bool]:
    """The bytes of a file, decompressed, and whether they are only its beginning.

    Raises:
        Failure: exit 3, if it cannot be read or is too large.
    """
    limit = MAX_FILE_SIZE if most is None else min(most, MAX_FILE_SIZE)
    try:
        with path.open("rb") as file:
            packed = file.read(len(GZIP)) == GZIP
            file.seek(0)
            if not packed and path.suffix.lower() == ".gz":
                raise Failure(Exit.DATA, f"{key}: {name} is not compressed with gzip")
            if not packed and most is None and path.stat().st_size > MAX_FILE_SIZE:
                raise _too_large(key, name)
            content = _read(gzip.GzipFile(fileobj=file) if packed else file, limit)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Failure(Exit.DATA, f"{key}: {name}: its gzip data are damaged or cut off") from error
    except OSError as error:
        raise Failure(Exit.DATA, f"{key}: {name} cannot be read: {error.strerror}") from error
    if len(content) <= limit:
        return content, False
    if most is None:
        raise _too_large(key, name)
    return content, True


def _too_large(key: str, name: str) -> Failure:
    return Failure(Exit.DATA, f"{key}: {name} is larger than {MAX_FILE_SIZE >> 20} MiB; use a part of it")


def _read(file: "IO[bytes] | gzip.GzipFile", limit: int) -> bytes:
    """At most one byte more than ``limit``, without room for what is not there."""
    whole = io.BytesIO()
    while len(block := file.read(min(SAMPLE, limit + 1 - whole.tell()))):
        whole.write(block)
    return whole.getvalue()


def _text(key: str, name: str, content: bytes, part: bool, encoding: str) -> str:
    """``content``, which is a ``part`` or all of a file, as text."""
    if kind := next((kind for mark, kind in NOT_TEXT.items() if content.startswith(mark)), None):
        raise Failure(Exit.DATA, f"{key}: {name} is {kind}")
    try:
        return decoded(content[:SAMPLE] if part else content, encoding, part)
    except UnicodeDecodeError as error:
        raise _encoding_error(key, name, content, encoding, error.start) from error


def _encoding_error(key: str, name: str, content: bytes, encoding: str, start: int) -> Failure:
    likely, line = guess(content), content[:start].count(b"\n") + 1
    what = f"{key}: {name} is not {encoding.upper().replace('_', '-')} (line {line}, byte {content[start]:#04x})"
    if likely is None:
        return Failure(Exit.DATA, f"{what}; it does not look like text")
    if likely == encoding:
        return Failure(Exit.DATA, f"{what}; some of it may be damaged")
    return Failure(Exit.DATA, f"{what}; it looks like {likely}\nto read it so: data.encoding={likely}")
