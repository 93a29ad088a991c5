"""How often held-out data are measured while training, where ``heldout.every`` leaves it open."""

from dataclasses import replace
from typing import TypeVar

from rlnlp.config.rlhf import Rlhf
from rlnlp.config.schema import AnyRun, Trained

T = TypeVar("T", bound=AnyRun)
MEASUREMENTS = 10  # wanted of a run
BUDGET = 0.1  # of the time of training, at most
CURVE = 12  # wanted of the first round of rlhf: the curve of over-optimization is fitted to 8 that are far enough
CURVE_BUDGET = 0.17
LATER = 2  # times as far apart in later rounds, which are not fitted
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

    Of rlhf these are steps of the policy in the first round, about ``CURVE``. Settings that need measurements get them
    whatever they cost.
    """
    algo = config.algo
    needed = config.heldout.patience > 0 or config.checkpoint.result == "best" or config.checkpoint.keep_models != 0
    if isinstance(algo, Rlhf):
        total, cost, size, at_end = algo.policy.total_steps, algo.rounds * algo.round_cost, _all(config), 0
        wanted, budget = CURVE, CURVE_BUDGET
    else:
        total, cost = algo.total_steps, algo.relative_cost * algo.total_steps * algo.responses
        size, at_end = _choosing(config), 2  # the best and the last
        wanted, budget = MEASUREMENTS, BUDGET
    for count in range(wanted, 0, -1):
        steps = -(-total // count)
        if needed or (len(measured_steps(config, steps)) + at_end) * size <= budget * cost:
            return steps
    return 0


def measured_steps(config: Trained, every: int) -> set[int]:
    """The steps after which is measured if that is every so many ones: the first of them, and each multiple.

    Of rlhf they count the policy's in each round, and later rounds are measured at each ``LATER``-th of them.
    """
    algo = config.algo
    if not isinstance(algo, Rlhf):
        return _due(algo.total_steps, every)
    begins = range(algo.reward_model.total_steps, algo.total_steps, algo.round_steps)
    in_rounds = enumerate(begins, 1)
    return {
        begin + step for round, begin in in_rounds for step in _due(algo.policy.total_steps, every_in(round, every))
    }  # fmt: skip


def every_in(round: int, every: int) -> int:
    """Steps of the policy between two measurements in a round of rlhf; 0 means never."""
    return every if round == 1 else LATER * every


def _due(total: int, every: int) -> set[int]:
    return {1, *range(every, total + 1, every)}


def _all(config: AnyRun) -> int:
    """Prompts of a measurement that nothing is chosen by."""
    return config.heldout.size or FALLBACK


def _choosing(config: AnyRun) -> int:
    """Prompts of a measurement that chooses the best step, at most."""
    size = _all(config)
    return min(size // 2, CHOOSING) if size >= APART else size
