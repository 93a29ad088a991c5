"""How a command ends: an error becomes one to three lines and an exit status."""

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from rlnlp.errors import Exit, Failure, one_line
from rlnlp.signals import Stopped


def guarded(who: str, command: Callable[[], int]) -> int:
    """The exit status of ``command``; what it raises is told on stderr. RLNLP_TRACE=1 shows the traceback too."""
    try:
        status = command()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as interrupt:
        _tell(f"{who}: interrupted")
        return exit_code(interrupt)
    except Failure as failure:
        _trace()
        lines = str(failure).split("\n")
        _tell(f"{who}: " + "\n  ".join(one_line(line, 400) for line in lines))
        return failure.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer has no reader
        return Exit.PIPE
    except OSError as error:
        _trace()
        _tell(f"{who}: {describe(error)}\n  make room or mend the disk, then run it again")
        return Exit.STORAGE
    except Exception as error:
        _trace()
        if out_of_memory(error):
            _tell(f"{who}: out of memory: {one_line(str(error))}\n  ask for less at once, or use a smaller model")
            return Exit.MEMORY
        _tell(f"{who}: {describe(error)}\n  This is a bug in rlnlp; RLNLP_TRACE=1 shows where.")
        return Exit.BUG


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


def _tell(text: str) -> None:
    with suppress(OSError):  # the terminal may be what has gone
        print(text, file=sys.stderr, flush=True)


def _trace() -> None:
    if os.environ.get("RLNLP_TRACE") == "1":
        traceback.print_exc()
