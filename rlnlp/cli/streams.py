"""Standard output and error as a command sees them: what cannot be written or encoded there fails nothing.

A run whose reader goes away (``rlnlp train | head``) goes on to its end, and its record says that it is done. Only how
the process ends tells that something was not shown.
"""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rlnlp.cli.exits import print_error
from rlnlp.errors import Exit, describe

NAMES = ("stdin", "stdout", "stderr")
ERRORS = {  # how a character is written that the encoding lacks
    "stdout": "backslashreplace",  # results keep what they say
    "stderr": "replace",  # one character for one: the live table keeps its columns
}
GONE = (errno.EPIPE, errno.ECONNRESET)


class LastingFile(io.FileIO):
    """A file descriptor whose writes never fail: the first error is kept, and what comes after it is dropped."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.error: OSError | None = None
        self._terminal = self.isatty()

    def write(self, data: Any) -> int:
        """Write all of ``data``, waiting for a reader that is slow."""
        rest = memoryview(data).cast("B")
        try:
            while rest and self.error is None:
                written = super().write(rest)
                if written is None:  # the descriptor is set not to wait, as some terminals leave it
                    _wait_for(self.fileno())
                else:
                    rest = rest[written:]
        except OSError as error:
            self.error = error
        return memoryview(data).nbytes

    @property
    def reader_gone(self) -> bool:
        """True if the other end of the pipe or the terminal was closed."""
        gone = (*GONE, errno.EIO) if self._terminal else GONE
        return self.error is not None and self.error.errno in gone


class Streams:
    """The files behind the standard streams that were replaced, by name."""

    def __init__(self) -> None:
        self.files: dict[str, LastingFile] = {}

    def status(self, status: Any) -> Any:
        """The exit status of a process whose command ended with ``status``.

        141 if a reader has gone (as SIGPIPE ends a process), 5 if standard output holds less than was printed; an error
        of the command itself comes first.
        """
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if status:
            return status
        if any(file.reader_gone for file in self.files.values()):
            return Exit.PIPE
        lost = self.files["stdout"].error if "stdout" in self.files else None
        if lost is None:
            return status
        print_error(
            f"rlnlp: standard output cannot be written: {describe(lost)}\n  a run that is done is saved all the same"
        )
        return Exit.STORAGE


@contextmanager
def lasting_streams() -> Iterator[Streams]:
    """A block in which writing to the process's own standard streams never fails; other streams are left alone.

    A descriptor that was closed is opened on /dev/null, or the next file to be opened would get its number, and all
    that is printed.
    """
    for descriptor, name in enumerate(NAMES):
        _open_missing(descriptor, name)
    streams, kept = Streams(), {name: getattr(sys, name) for name in ERRORS}
    for name, stream in kept.items():
        if stream is getattr(sys, f"__{name}__"):
            stream.flush()
            streams.files[name] = LastingFile(NAMES.index(name))
            setattr(sys, name, _text(streams.files[name], stream, ERRORS[name]))
    try:
        yield streams
    finally:
        for name, stream in kept.items():
            getattr(sys, name).flush()
            setattr(sys, name, stream)


def _text(file: LastingFile, like: TextIO, errors: str) -> io.TextIOWrapper:
    unbuffered = isinstance(like.buffer, io.RawIOBase)  # python -u
    buffer: Any = file if unbuffered else io.BufferedWriter(file)
    return io.TextIOWrapper(
        buffer, like.encoding, errors, line_buffering=bool(like.line_buffering), write_through=unbuffered
    )


def _open_missing(descriptor: int, name: str) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
        os.set_inheritable(descriptor, True)
    if getattr(sys, name) is None:
        opened = open(descriptor, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        setattr(sys, name, opened)
        setattr(sys, f"__{name}__", opened)


def _wait_for(descriptor: int) -> None:
    import select

    select.select([], [descriptor], [])
