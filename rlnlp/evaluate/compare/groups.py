"""Groups of runs that are equal but for their seed: what they reached, and which of two groups reached more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlnlp.evaluate.compare.settings import SEED, flat, group_key
from rlnlp.evaluate.outcome import METRICS, Outcome
from rlnlp.evaluate.stored import StoredRun
from rlnlp.maths.group_differences import Difference, independent_difference, paired_difference
from rlnlp.maths.resampling import Interval, Values, holm
from rlnlp.maths.seeds import (
    IQM_FROM,
    interquartile_mean,
    probability_of_improvement,
    seeds_interval,
    stratified_interval,
)
from rlnlp.rng import stream

LEVEL = 0.05  # of a p-value after Holm
FEW_SEEDS = 5  # below, a plain word is said
BETTER, NOT_SHOWN = "better", "no difference shown"


@dataclass(frozen=True)
class Figure:
    """A mean over seeds with its 95 % interval; None of one seed."""

    mean: float
    interval: Interval | None


@dataclass(frozen=True)
class Group:
    """Runs of equal settings, one for each seed, in the order of the seeds; ``where`` has what tells them from others.

    ``before``, ``after`` and ``difference`` are of what is measured; ``kl`` in nats per response; ``middle`` is the
    interquartile mean of ``after``, from 10 seeds on.
    """

    where: Mapping[str, Any]
    runs: tuple[StoredRun, ...]
    before: Figure
    after: Figure
    difference: Figure
    kl: Figure | None
    middle: Figure | None

    @property
    def seeds(self) -> tuple[Any, ...]:
        """The seed of each run."""
        return tuple(run.settings.get(SEED) for run in self.runs)

    @property
    def values(self) -> Values:
        """What each run reached (n,)."""
        return np.array([_reached(run).after for run in self.runs])


@dataclass(frozen=True)
class Pair:
    """Two groups by their numbers, the one of the better mean first; ``difference`` is the first's less the other's.

    ``paired``: by seed. ``improvement`` is the probability that a run of the first is better than one of the other.
    """

    better: int
    other: int
    paired: bool
    difference: Difference
    p_holm: float
    improvement: float
    improvement_interval: Interval

    @property
    def verdict(self) -> str:
        """Of the first group."""
        return BETTER if self.p_holm < LEVEL else NOT_SHOWN


def _reached(run: StoredRun) -> Outcome:
    assert run.outcome is not None, "of runs that are finished"
    return run.outcome


def groups(runs: Sequence[StoredRun], keys: Sequence[str]) -> list[Group]:
    """The runs by their settings, in the order in which they come; ``keys`` are the settings that differ."""
    found: dict[tuple[tuple[str, str], ...], list[StoredRun]] = {}
    for run in runs:
        found.setdefault(group_key(run), []).append(run)
    return [_group(members, [key for key in keys if key != SEED]) for members in found.values()]


def repeated(runs: Sequence[StoredRun]) -> list[tuple[StoredRun, StoredRun]]:
    """(an earlier run, the later one of the same settings and seed): the same draws twice are not two seeds."""
    newest: dict[tuple[Any, ...], StoredRun] = {}
    found = []
    for run in sorted(runs, key=lambda each: str(each.facts.get("started"))):
        key = (group_key(run), repr(run.settings.get(SEED)))
        if key in newest:
            found.append((newest[key], run))
        newest[key] = run
    return found


def _group(members: Sequence[StoredRun], keys: Sequence[str]) -> Group:
    runs = tuple(sorted(members, key=lambda run: (str(type(run.settings.get(SEED))), run.settings.get(SEED))))
    own, reached = flat(runs[0]), [_reached(run) for run in runs]
    kls = [each.kl for each in reached if each.kl is not None]
    after = np.array([each.after for each in reached])
    middle = Figure(interquartile_mean(after), stratified_interval(after, _rng())) if len(runs) >= IQM_FROM else None
    return Group(
        {key: own[key] for key in keys if key in own}, runs, _figure([each.before for each in reached]),
        _figure(after), _figure([each.difference for each in reached]), _figure(kls) if kls else None, middle,
    )  # fmt: skip


def _figure(values: Sequence[float] | Values) -> Figure:
    x = np.array(values, dtype=np.float64)
    return Figure(float(x.mean()), seeds_interval(x, _rng()) if len(x) > 1 else None)


def _rng() -> np.random.Generator:
    """The same for each figure, so that none depends on which others are compared."""
    return stream(0, "compare")


def pairs(found: Sequence[Group], metric: str) -> list[Pair]:
    """Each two groups of two or more seeds, their p-values corrected for the number of pairs (Holm 1979)."""
    numbers = [i for i, group in enumerate(found) if len(group.runs) > 1]
    tried = [_pair(found, metric, i, j) for n, i in enumerate(numbers) for j in numbers[n + 1 :]]
    corrected = holm([difference.p for *_, difference in tried])
    return [
        Pair(i, j, paired, difference, p, *_improvement(found[i].values, found[j].values, metric))
        for (i, j, paired, difference), p in zip(tried, corrected, strict=True)
    ]


def _pair(found: Sequence[Group], metric: str, i: int, j: int) -> tuple[int, int, bool, Difference]:
    better = best_of([found[i], found[j]], metric)
    i, j = (i, j) if better == 0 else (j, i)
    paired = found[i].seeds == found[j].seeds
    differ = paired_difference if paired else independent_difference
    return i, j, paired, differ(found[i].values, found[j].values)


def best_of(found: Sequence[Group], metric: str) -> int:
    """The number of the group with the best mean after training."""
    return int(METRICS[metric](range(len(found)), key=lambda i: found[i].after.mean))


def _improvement(better: Values, other: Values, metric: str) -> tuple[float, Interval]:
    sign = 1.0 if METRICS[metric] is max else -1.0
    return probability_of_improvement(sign * better, sign * other, _rng())
