"""Where and in which precision is computed, and the memory of the process."""

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rlnlp.config.schema import Device
from rlnlp.errors import Exit, Failure

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@contextmanager
def importing() -> Iterator[None]:
    """A context for imports: little is collected in it, and what it leaves is exempt from later collections.

    Modules are a million objects and hardly any garbage; scanning them again and again takes a third of the time that
    importing transformers takes.
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
    """Give free memory back to the system."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def compute_device(where: Device) -> torch.device:
    """The device by name, with torch set up for it.

    Raises:
        Failure: exit 2, if this machine or this torch has no such device.
    """
    torch.set_num_threads(where.threads)
    keep_freed()
    if not torch.cpu._is_amx_tile_supported():
        # oneDNN instead of MKL: the same float32 at 2.4 times the speed on AMD. Where AMX is, it would mean bfloat16.
        torch.set_float32_matmul_precision("medium")
    name = where.name
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    have = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in have or (index and not index.isdecimal()):
        hint = f"; write {name.replace('gpu', 'cuda')}" if kind == "gpu" else ""
        raise Failure(Exit.CONFIG, f"device.name must be auto, cpu, cuda, cuda:N or mps, got '{where.name}'{hint}")
    if int(index or 0) >= have[kind]:
        raise Failure(
            Exit.CONFIG, f"device '{where.name}' is not there ({have[kind]} of {kind}); use device=cpu or device=auto"
        )
    return torch.device(name)


def computing_in(dtype: torch.dtype, device: torch.device) -> torch.autocast:
    """A context in which products of float32 weights are computed in ``dtype``."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
