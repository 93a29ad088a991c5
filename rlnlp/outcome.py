"""How a command ends: an error becomes one to three lines and an exit status."""

import os
import sys
import traceback
from collections.abc import Callable

from rlnlp.errors import Exit, Failure, one_line


def guarded(who: str, command: Callable[[], int]) -> int:
    """The exit status of ``command``; what it raises is told on stderr. RLNLP_TRACE=1 shows the traceback too."""
    try:
        return command()
    except KeyboardInterrupt:
        print(f"{who}: interrupted", file=sys.stderr)
        return Exit.INTERRUPT
    except Failure as failure:
        _trace()
        lines = str(failure).split("\n")
        print(f"{who}: " + "\n  ".join(one_line(line, 400) for line in lines), file=sys.stderr)
        return failure.code
    except Exception as error:
        _trace()
        print(f"{who}: {describe(error)}\n  This is a bug in rlnlp; RLNLP_TRACE=1 shows where.", file=sys.stderr)
        return Exit.BUG


def exit_code(error: BaseException) -> Exit:
    """The exit status that ``error`` leads to."""
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPT
    return error.code if isinstance(error, Failure) else Exit.BUG


def describe(error: BaseException) -> str:
    """Kind and message of ``error`` on one safe line."""
    return one_line(f"{type(error).__name__}: {error}", 300)


def _trace() -> None:
    if os.environ.get("RLNLP_TRACE") == "1":
        traceback.print_exc()
