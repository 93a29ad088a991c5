"""The most memory that a process holds while it does something: the system counts from the start of the process."""

from pathlib import Path

import torch

from rlnlp.device import peak_memory, return_freed

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")  # of Linux: proc(5)
RESTART = "5"  # the peak is what is held now
KIB = 1024


def restart_peak(device: torch.device) -> None:
    """Count from now on, where the system can; memory that is free goes back to it first."""
    return_freed()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        CLEAR.write_text(RESTART)
    except OSError:  # no Linux, or not allowed: what was held before counts too
        return


def peak(device: torch.device) -> int:
    """The most bytes since ``restart_peak``: of a CUDA device, else of the process."""
    if device.type == "cuda":
        return peak_memory(device)["cuda"]
    try:
        lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * KIB
    except (OSError, KeyError, ValueError, IndexError):
        return peak_memory(device)["process"]
