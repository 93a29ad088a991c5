"""Where and in which precision is computed, and the memory of the process."""

import ctypes
import gc
import os
import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from rlnlp.config.model import Device
from rlnlp.errors import Exit, Failure, counted, one_line
from rlnlp.processes.launch import ALONE, place

STATUS = Path("/proc/self/status")  # of Linux: proc(5)
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
        _freeze()
        gc.set_threshold(*usual)


@cache
def _freeze() -> None:
    """Once in a process: to ask whether it was done would count a million objects each time."""
    gc.freeze()


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


def cores() -> int:
    """The cores that this process may use: by affinity, and by the quota of its control group."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, int(quota) // int(period)))


def processes_text(parallel: str) -> str:
    """How many processes share the work, and how, in words; nothing of one process."""
    where = place()
    if parallel == "none" or where.processes == 1:
        return ""
    return f"\n{where.processes} processes ({parallel}), each with its part of every batch"


def device_text(device: torch.device, threads: int) -> str:
    """The device in words, with the cores that are idle because of ``threads`` and the setting that uses them."""
    name = f" ({one_line(torch.cuda.get_device_name(device), 60)})" if device.type == "cuda" else ""
    text, count = f"{device}{name}, {counted(threads, 'thread')}", cores()
    threads *= place().here
    if device.type == "cpu" and threads < count and place().here == 1:
        idle = f"{count - threads} of {counted(count, 'core')} {'is' if count - threads == 1 else 'are'} idle"
        text += f": {idle}; device.threads={count} uses all, and changes the last bits"
    if threads > count:
        fewer = max(1, count // place().here)
        text += f": more than there are cores ({count}), which is slow; device.threads={fewer} is faster"
    return text


def whole_memory(device: torch.device) -> int:
    """Bytes of memory that there are to compute with: of a CUDA device, else of the machine or this share of it."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # of a machine without control groups, or without a limit
        return whole


def peak_memory(device: torch.device) -> dict[str, int]:
    """The most bytes that this process has held so far: of the machine's memory, and of a CUDA device's."""
    found = {"process": _held_by_process()}
    return {**found, "cuda": torch.cuda.max_memory_allocated(device)} if device.type == "cuda" else found


def _held_by_process() -> int:
    """The most bytes; ``getrusage`` of Linux counts what the process held that started this one."""
    try:
        lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        unit = 1 if platform.system() == "Darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def compute_device(where: Device) -> torch.device:
    """The device by name, with torch set up for it.

    Raises:
        Failure: exit 2, if this machine or this torch has no such device.
    """
    torch.set_num_threads(where.threads)
    keep_freed()
    name = "cuda" if where.name == "auto" and torch.cuda.is_available() else where.name
    here = place() if where.parallel != "none" else ALONE
    device = find_device(f"cuda:{here.local}" if here.processes > 1 and name == "cuda" else where.name)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # streams, and what is asked of "the" GPU, are of the current one
    # oneDNN instead of MKL: the same float32 at 2.4 times the speed on AMD. On a GPU, and where a CPU has AMX, it would
    # mean products of a shorter type.
    fast = device.type == "cpu" and not torch.cpu._is_amx_tile_supported()
    torch.set_float32_matmul_precision("medium" if fast else "highest")
    return device


def compute_dtype(name: str, device: torch.device) -> torch.dtype:
    """What products of float32 weights are computed in on ``device``: a setting's ``name``, or ``auto``."""
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        name = "bfloat16" if fast else "float32"
    return DTYPES[name]


def dtype_name(name: str, device: torch.device) -> str:
    """The same by its name in the settings."""
    return str(compute_dtype(name, device)).removeprefix("torch.")


@contextmanager
def exact_products() -> Iterator[None]:
    """A context in which float32 products are float32, by the plain kernels."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def find_device(name: str) -> torch.device:
    """The device by name; nothing is set up for it.

    Raises:
        Failure: exit 2, if this machine or this torch has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    have = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(index or 0) >= have:
        raise Failure(Exit.CONFIG, f"device '{name}' is not there ({have} of {kind}); use device=cpu or device=auto")
    return torch.device(name)


def computing_in(dtype: torch.dtype, device: torch.device) -> torch.autocast:
    """A context in which products of float32 weights are computed in ``dtype``."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
