"""How a command ends: an error becomes one to three lines and an exit status."""

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from rlnlp.errors import Exit, Failure, describe, exit_code, one_line, out_of_memory


def guarded(who: str, command: Callable[[], int]) -> int:
    """The exit status of ``command``; what it raises is printed to stderr. RLNLP_TRACE=1 shows the traceback too."""
    try:
        status = command()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as interrupt:
        print_error(f"{who}: interrupted")
        return exit_code(interrupt)
    except Failure as failure:
        _trace()
        lines = str(failure).split("\n")
        print_error(f"{who}: " + "\n  ".join(one_line(line, 400) for line in lines))
        return failure.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer has no reader
        return Exit.PIPE
    except OSError as error:
        _trace()
        print_error(f"{who}: {describe(error)}\n  free disk space or fix the disk, then run it again")
        return Exit.STORAGE
    except Exception as error:
        _trace()
        if out_of_memory(error):
            print_error(f"{who}: out of memory: {one_line(str(error))}\n  ask for less at once, or use a smaller model")
            return Exit.MEMORY
        print_error(f"{who}: {describe(error)}\n  This is a bug in rlnlp; RLNLP_TRACE=1 shows where.")
        return Exit.BUG


def print_error(text: str) -> None:
    """Print to stderr, if there is still one."""
    with suppress(OSError):  # the terminal may be what has gone
        print(text, file=sys.stderr, flush=True)


def _trace() -> None:
    if os.environ.get("RLNLP_TRACE") == "1":
        traceback.print_exc()
