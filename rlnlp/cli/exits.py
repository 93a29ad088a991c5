"""How a command ends: an error becomes one to three lines on stderr and an exit code."""

import os
import sys
import threading
import time
import traceback
from _thread import interrupt_main
from collections.abc import Callable

from rlnlp.errors import SIGNALED, Failure, describe, ended_by, exit_code, one_line, out_of_memory, safe_text
from rlnlp.processes.launch import follows
from rlnlp.run.handlers import noticed, undropped, was_interrupted

ALIKE = 5.0  # seconds in which the first of several processes ends by the same error, and torchrun ends the others
LONGEST = 2**14  # characters of a line: a command to copy is printed whole, and it may hold several paths


def guarded(program: str, command: Callable[[], int]) -> int:
    """The exit code of ``command``; its error is printed to stderr, with RLNLP_TRACE=1 the traceback too.

    Of several processes of a run all but the first are silent for a while: the first says the same, and ends them.
    """
    with noticed():
        try:
            with undropped(lambda _: interrupt_main()):
                return command()
        except (Exception, KeyboardInterrupt) as error:
            return _told(program, _of_interrupt(error))


def _of_interrupt(error: BaseException) -> BaseException:
    """The interrupt that ``error`` comes of, unless it tells of one; ``error`` where there was none."""
    error = ended_by(error)
    return KeyboardInterrupt() if was_interrupted() and exit_code(error) not in SIGNALED else error


def _told(program: str, error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        if not follows():
            print_error(f"{program}: interrupted")
        return exit_code(error)
    if os.environ.get("RLNLP_TRACE") == "1":
        traceback.print_exc()
    if isinstance(error, Failure):
        lines = str(error).split("\n")
        _tell(f"{program}: " + "\n  ".join(safe_text(line)[:LONGEST] for line in lines))
    elif isinstance(error, OSError):
        _tell(f"{program}: {describe(error)}\n  free disk space or fix the disk, then run the command again")
    elif out_of_memory(error):
        _tell(f"{program}: out of memory: {one_line(str(error))}\n  use smaller batches or a smaller model")
    else:
        _tell(f"{program}: {describe(error)}\n  This is a bug in rlnlp; RLNLP_TRACE=1 shows where.")
    return exit_code(error)


def leave_threads(status: int) -> None:
    """End the process if a signal has ended its command, and threads that code of the user's has left would keep it."""
    left = [thread for thread in threading.enumerate() if not thread.daemon and thread != threading.main_thread()]
    if left and status in SIGNALED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def print_error(text: str) -> None:
    """Print to stderr."""
    print(text, file=sys.stderr, flush=True)


def _tell(text: str) -> None:
    if follows():
        time.sleep(ALIKE)
    print_error(text)
