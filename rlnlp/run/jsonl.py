"""JSONL files that a run appends to: whole lines only, truncated when the run resumes from an earlier step."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlnlp.run.disk import write, write_all

Mark = dict[str, Any]  # size and sha256 of the first bytes of a file


class JsonlFile:
    """One file; every record has a ``step``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        self._rehash(os.fstat(self._handle).st_size)

    def append(self, row: Mapping[str, Any]) -> None:
        """Append a line; if it cannot be written whole, none of it stays."""
        line = (json.dumps(row, allow_nan=False) + "\n").encode()
        try:
            write_all(self._handle, line)
        except BaseException:  # a signal, too, may arrive in the middle of a line
            with suppress(OSError):
                os.ftruncate(self._handle, self._size)
            raise
        self._size += len(line)
        self._sha.update(line)

    def mark(self) -> Mark:
        """Size and sha256 of the file as it is now."""
        return {"size": self._size, "sha256": self._sha.hexdigest()}

    def starts_with(self, mark: Mark) -> bool:
        """True if the file begins with the content of ``mark``."""
        start = self._read(mark["size"])
        return {"size": len(start), "sha256": hashlib.sha256(start).hexdigest()} == mark

    def truncate_after(self, step: int) -> None:
        """Remove the lines after ``step``: all from the first later line, or from the first that is not whole."""
        size = sum(length for length, _ in self._lines(step))
        if size < os.fstat(self._handle).st_size:
            os.ftruncate(self._handle, size)
        self._rehash(size)

    def rows(self) -> list[dict[str, Any]]:
        """The records."""
        return [row for _, row in self._lines(None)]

    def keep_copy(self) -> Path:
        """Copy the file as it is; return the path of the copy beside it."""
        copy = self.path.with_name(f"{self.path.stem}.damaged-{secrets.token_hex(4)}{self.path.suffix}")
        write(copy, self._read(self._size))
        return copy

    def sync(self) -> None:
        """Wait until the lines are on the disk."""
        os.fsync(self._handle)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

    def _rehash(self, size: int) -> None:
        self._size, self._sha = size, hashlib.sha256(self._read(size))

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size and (part := os.pread(self._handle, size - len(found), len(found))):
            found += part
        return found

    def _lines(self, last: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Length and record of each line, up to the first that is damaged or of a step after ``last``."""
        for line in self._read(self._size).split(b"\n")[:-1]:
            try:
                row = json.loads(line)
                later = last is not None and row["step"] > last
            except (ValueError, KeyError, TypeError, RecursionError):
                return
            if later:
                return
            yield len(line) + 1, row
