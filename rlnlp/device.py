"""The memory of the process: what Python collects, and what glibc keeps of what tensors have freed."""

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)


@contextmanager
def importing() -> Iterator[None]:
    """Where little is collected, and what is there at the end stays: a million objects of modules, hardly any garbage.

    Looking through all of them time and again takes a third of what importing transformers takes.
    """
    usual = gc.get_threshold()
    gc.set_threshold(50_000, 20, 1000)
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
        gc.set_threshold(*usual)


def keep_freed() -> None:
    """Let glibc give freed memory to the next tensor, and not back to the system: each fresh page costs a fault."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def return_freed() -> None:
    """Give what lies free back to the system after all."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
