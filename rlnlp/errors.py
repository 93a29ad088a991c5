"""The error that users see, exit codes, a description of any other error, and text made safe to print or to type."""

import os
import shlex
import signal
import unicodedata
from enum import IntEnum
from pathlib import Path


class Exit(IntEnum):
    """The exit codes of a command."""

    DONE = 0
    BUG = 1
    CONFIG = 2
    DATA = 3
    MODEL = 4
    STORAGE = 5
    RUN = 6
    REWARD = 7
    NONFINITE = 8
    MEMORY = 9
    SWEEP = 10
    HANGUP = 129
    INTERRUPT = 130
    PIPE = 141
    TERMINATED = 143


SIGNALED = (Exit.INTERRUPT, Exit.TERMINATED, Exit.HANGUP)
WAITING = "waits-for-judgements"  # the name of a failure after which all is well: people are to do something


class Failure(Exception):
    """An error that the user can fix: one to three lines with what, where and what to do next.

    ``name`` is what programs know it by; that of the exit code where it has none of its own.
    """

    def __init__(self, code: Exit, message: str, name: str = "") -> None:
        super().__init__(message)
        self.code, self.name = code, name or code.name.lower()


class Stopped(KeyboardInterrupt):
    """A signal has arrived. As a KeyboardInterrupt it passes every ``except Exception``.

    ``meanwhile`` is how far what was being done has come, in words.
    """

    def __init__(self, number: int, meanwhile: str = "") -> None:
        super().__init__(signal.Signals(number).name)
        self.number, self.meanwhile = number, meanwhile


class Paused(KeyboardInterrupt):
    """A run that waits for people ends without a signal; the message says how far it has come."""

    def __init__(self, message: str, code: Exit = Exit.INTERRUPT) -> None:
        super().__init__(message)
        self.code = code


class Lost(KeyboardInterrupt):
    """Another process of the run is gone; the message says which. The run can be resumed, as after a signal."""


def ended_by(error: BaseException) -> BaseException:
    """The interrupt in whose wake ``error`` was raised; ``error`` itself without one.

    A library that an interrupt leaves half done may fail in its own ``finally``, and so put an error of its own in the
    place of the interrupt. What is raised ``from`` an interrupt says what it has to say about it.
    """
    each: BaseException | None = error
    while each is not None and not isinstance(each, KeyboardInterrupt):
        if each.__cause__ is None and isinstance(each.__context__, KeyboardInterrupt):
            return each.__context__
        each = each.__cause__ or each.__context__
    return error


def exit_code(error: BaseException) -> Exit:
    """The exit code for ``error``."""
    error = ended_by(error)
    if isinstance(error, Lost):
        return Exit.TERMINATED
    if isinstance(error, Stopped):
        return Exit(128 + error.number)
    if isinstance(error, KeyboardInterrupt) and not isinstance(error, Paused):
        return Exit.INTERRUPT
    if isinstance(error, Failure | Paused):
        return error.code
    if out_of_memory(error):
        return Exit.MEMORY
    return Exit.STORAGE if isinstance(error, OSError) else Exit.BUG


def out_of_memory(error: BaseException) -> bool:
    """True if memory ran out; on a CPU, torch raises a plain RuntimeError that only its message gives away."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = str(error)
    words = isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in text or "out of memory" in text)
    return words or bool(kinds & {"MemoryError", "OutOfMemoryError"})


def describe(error: BaseException) -> str:
    """Type and message of ``error`` on one safe line."""
    return one_line(f"{type(error).__name__}: {error}", 300)


def safe_text(text: str) -> str:
    r"""``text`` without terminal control: control, format and surrogate characters become escapes such as ``\x1b``.

    Newline and tab stay. What a model or a user wrote must not move the cursor, set the window title or reverse the
    reading direction.
    """
    if text.isprintable():  # which nothing is that moves
        return text
    return "".join(c if c in "\n\t" or not _moves(c) else _escape(c) for c in text)


def one_line(text: str, limit: int = 200) -> str:
    """``text`` safe, on one line, with at most ``limit`` characters."""
    flat = safe_text(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``1 step``, ``1,000 steps``; ``plural`` if it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def command(*words: str | Path) -> str:
    """The command ``rlnlp`` with ``words``, to be copied: one line that a shell reads back as these words."""
    return " ".join(["rlnlp", *map(shell_word, words)])


def shell_word(word: str | Path) -> str:
    """``word`` as a POSIX shell reads it back, on one line and safe to print; only newlines at its end are lost."""
    text = f"./{word}" if isinstance(word, Path) and str(word).startswith(("-", "~")) else str(word)
    if not any(_moves(character) for character in text):
        return f'"{text}"' if "'" in text and not set(text) & _ACT_IN_QUOTES else shlex.quote(text)
    codes = (chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in os.fsencode(text))
    return f"\"$(printf '{''.join(codes)}')\""


_ACT_IN_QUOTES = frozenset('"$`\\!')  # in double ones
_PLAIN = frozenset(range(0x20, 0x7F)) - frozenset(b"'\\%-")  # bytes that printf prints as they are


def _moves(character: str) -> bool:
    """True for characters that act on a terminal or end a line."""
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
