"""What a run takes: seconds and memory, from steps that are tried; and room on the disk."""

import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from rlnlp.algos.opening import (
    LESS_DISK,
    Modules,
    Prepared,
    Trial,
    algo_of,
    disk_need,
    further,
    modules_of,
    need_text,
    once_text,
)
from rlnlp.algos.optim import state_bytes
from rlnlp.commands.check.findings import Finding, Report
from rlnlp.commands.check.peak import peak, restart_peak
from rlnlp.config.description import duration, measurements
from rlnlp.config.schema import RlhfRun
from rlnlp.device import whole_memory
from rlnlp.errors import Exit, counted
from rlnlp.run.disk import existing, size_text

MOST_TRIED, ENOUGH = 10, 20.0  # steps; seconds of them
SLOW = 60.0  # seconds of a step that is tried once


class Loading(NamedTuple):
    """What everything before the first step took: seconds, and bytes at most."""

    seconds: float
    memory: int


def costs(
    config: Any, directory: Path, prepared: Prepared[Any, Any], loading: Loading, response: float, report: Report
) -> None:
    """Try steps that change nothing, and say what the whole run takes; what is too much is a finding.

    ``loading`` is what everything before the first step took, ``response`` the seconds of measuring one.
    """
    modules = modules_of(prepared.parts)
    restart_peak(device_of(modules))
    tried = tried_steps(prepared.trial, config.algo.total_steps)
    step = median(tried)
    count = measurements(config)
    measurement = response * prepared.around.rows.heldout
    steps = config.algo.total_steps + config.algo.further_steps
    once = prepared.once.left() if prepared.once else 0
    seconds = loading.seconds + once + steps * step + count * measurement
    report.figures |= {"seconds": seconds, "step_seconds": step}
    report.takes["time"] = (
        f"about {duration(seconds)}: {once_text(once)}{counted(config.algo.total_steps, 'step')} of {step:.2g} s"
        f" (from {counted(len(tried), 'trial')}){further(config.algo)}, {counted(count, 'measurement')} of"
        f" {measurement:.2g} s"
    )
    look_at_room(config, directory, modules, loading.memory, report)


def device_of(modules: Modules) -> torch.device:
    """Where what learns is."""
    return next(next(iter(modules.values())).parameters()).device


def look_at_room(config: Any, directory: Path, modules: Modules, held: int, report: Report) -> None:
    """Memory and disk, after steps were tried; ``modules`` are what learns. What is too much is a finding.

    ``held`` are the most bytes before the steps. A step that is tried lacks the optimizer's state alone: what this
    check draws and compares besides is no part of a run.
    """
    device = device_of(modules)
    moments = sum(state_bytes(module, algo_of(config, name)) for name, module in modules.items())
    needed = max(held, peak(device) + moments)
    need, free = disk_need(config, modules), shutil.disk_usage(existing(directory)).free
    report.figures |= {"memory_bytes": needed, "disk_bytes": need.total, "disk_free_bytes": free}
    report.takes |= {
        "memory": f"about {size_text(needed)} of {size_text(whole_memory(device))}",
        "disk": need_text(need, free),
    }
    if needed > whole_memory(device):
        what = f"the run needs about {size_text(needed)} of memory, and there are {size_text(whole_memory(device))}"
        key = "algo.policy.micro_batch_size" if isinstance(config, RlhfRun) else "algo.micro_batch_size"
        fix = f"lower {key}, set model.gradient_checkpointing=true, or take a smaller model"
        report.warn("memory", what, fix)
    if need.total > free:
        what = f"the run writes up to {size_text(need.total)}, and {size_text(free)} are free"
        report.add(Finding("disk-full", "error", what, LESS_DISK, Exit.STORAGE))


def tried_steps(trial: Trial, total: int) -> list[float]:
    """The seconds of the first steps, each tried without changing anything; the very first is slower, and left out.

    Slow steps are few, a very slow one is alone.
    """
    first = trial(1)
    if first > SLOW or total == 1:
        return [first]
    tried: list[float] = []
    begun = time.monotonic()
    while len(tried) < min(MOST_TRIED, total) and (not tried or time.monotonic() - begun < ENOUGH):
        tried.append(trial(len(tried) + 1))
    return tried
