"""How often held-out data are measured while training, where ``heldout.every`` leaves it open."""

from dataclasses import replace
from typing import TypeVar

from rlnlp.config.rlhf import Rlhf
from rlnlp.config.schema import AnyRun

T = TypeVar("T", bound=AnyRun)
MEASUREMENTS = 10  # wanted of a run
BUDGET = 0.1  # of the time of training, at most
APART = 64  # from so many held-out prompts on, some of them choose the best step and the others report
CHOOSING = 128  # prompts that choose at most: half of the held-out ones, up to these
FALLBACK = 64  # training prompts to measure on if none are held out


def with_measurements(config: T) -> T:
    """``config`` with a number for ``heldout.every``: null is decided by the settings alone, for exact reruns."""
    if config.heldout.every is not None:
        return config
    return replace(config, heldout=replace(config.heldout, every=every(config)))


def every(config: AnyRun) -> int:
    """Steps between two measurements: about ten in a run, fewer to stay in ``BUDGET``; 0 if not even one does.

    Of rlhf these are steps of the policy, and about ten in a round. Settings that need measurements get them whatever
    they cost.
    """
    algo = config.algo
    needed = config.heldout.patience > 0 or config.checkpoint.result == "best" or config.checkpoint.keep_models != 0
    if isinstance(algo, Rlhf):
        total, cost, size, at_end = algo.policy.total_steps, algo.round_cost, config.heldout.size or FALLBACK, 0
    else:
        total, cost = algo.total_steps, algo.relative_cost * algo.total_steps * algo.responses
        size, at_end = _size(config), 2  # the best and the last
    for count in range(MEASUREMENTS, 0, -1):
        steps = -(-total // count)
        if needed or (len(measured_steps(total, steps)) + at_end) * size <= BUDGET * cost:
            return steps
    return 0


def measured_steps(total: int, every: int) -> set[int]:
    """Of ``total`` steps those after which is measured: the first, and each multiple of ``every``."""
    return {1, *range(every, total + 1, every)}


def _size(config: AnyRun) -> int:
    """Prompts of a measurement, at most."""
    size = config.heldout.size or FALLBACK
    return min(size // 2, CHOOSING) if size >= APART else size
