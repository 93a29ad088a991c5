"""The most memory that a process holds while it does something: the system counts from the start of the process."""

from pathlib import Path

import torch

from rlnlp.device import peak_memory, return_freed

CLEAR = Path("/proc/self/clear_refs")  # of Linux: proc(5)
RESTART = "5"  # the peak is what is held now


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
    return peak_memory(device)["cuda" if device.type == "cuda" else "process"]
