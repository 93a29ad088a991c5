"""The one error that users see, its exit codes, and text made safe to show."""

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
