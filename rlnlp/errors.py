"""The one error that users see, its exit codes, words for any other error, and text made safe to show."""

import signal
import unicodedata
from enum import IntEnum


class Exit(IntEnum):
    """What the exit status of a command means."""

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


class Failure(Exception):
    """Something that the user can mend: one to three lines that say what, where and what to do next."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


class Stopped(KeyboardInterrupt):
    """A signal has come. Nothing that means errors catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_code(error: BaseException) -> Exit:
    """The exit status that ``error`` leads to."""
    if isinstance(error, Stopped):
        return Exit(128 + error.number)
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPT
    if isinstance(error, Failure):
        return error.code
    if isinstance(error, BrokenPipeError):
        return Exit.PIPE
    if out_of_memory(error):
        return Exit.MEMORY
    return Exit.STORAGE if isinstance(error, OSError) else Exit.BUG


def out_of_memory(error: BaseException) -> bool:
    """True if memory ran out; on a CPU, torch tells so in the words of a plain RuntimeError only."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = str(error)
    words = isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in text or "out of memory" in text)
    return words or bool(kinds & {"MemoryError", "OutOfMemoryError"})


def describe(error: BaseException) -> str:
    """Kind and message of ``error`` on one safe line."""
    return one_line(f"{type(error).__name__}: {error}", 300)


def safe_text(text: str) -> str:
    r"""``text`` without anything that a terminal obeys: control, format and surrogate characters become ``\x1b``-like.

    Newline and tab stay. What a model or a user wrote must not move the cursor, retitle the window or turn the
    reading direction round.
    """
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cf", "Cs"} else _visible(c) for c in text)


def one_line(text: str, limit: int = 200) -> str:
    """``text`` safe, on one line, and no longer than ``limit`` characters."""
    flat = safe_text(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _visible(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
