"""The comparison of runs: which count, what each part of them measures, their groups, and what a reader must know."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnlp.errors import Exit, Failure, command, counted, one_line
from rlnlp.evaluate.compare.groups import FEW_SEEDS, Group, Pair, best_of, groups, pairs, repeated
from rlnlp.evaluate.compare.measured import Measure, measures
from rlnlp.evaluate.compare.settings import chosen, differing, flat, full_key
from rlnlp.evaluate.outcome import METRICS
from rlnlp.evaluate.stored import DONE, RUNNING, StoredRun, read_run
from rlnlp.run.find import find_runs

Left = tuple[Path, str]  # a run that does not count, and why
FIGURES: dict[str, Callable[[Group], float]] = {  # what groups can be sorted by, beside settings
    "before": lambda group: group.before.mean,
    "difference": lambda group: group.difference.mean,
    "kl": lambda group: group.kl.mean if group.kl else float("inf"),
    "n": lambda group: len(group.runs),
}


@dataclass(frozen=True)
class Section:
    """Runs that measure the same: the settings that differ, the groups, and each two of these beside each other."""

    measure: Measure
    keys: tuple[str, ...]
    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]

    @property
    def best(self) -> int | None:
        """The number of the group with the best mean; None where there is only one."""
        return best_of(self.groups, self.measure.metric) if len(self.groups) > 1 else None

    @property
    def seeded(self) -> bool:
        """True if a group has more than one seed."""
        return any(len(group.runs) > 1 for group in self.groups)

    def against_best(self, number: int) -> Pair | None:
        """The pair of the best group and this one; None for the best, and where a group has one seed."""
        return next((pair for pair in self.pairs if pair.better == self.best and pair.other == number), None)


@dataclass(frozen=True)
class Comparison:
    """``keys`` are the settings that differ, the algorithm first and the seed last; ``runs`` are those that count."""

    keys: tuple[str, ...]
    runs: tuple[StoredRun, ...]
    sections: tuple[Section, ...]
    left: tuple[Left, ...]
    notes: tuple[str, ...]


def compare(
    runs: Sequence[StoredRun], left: Sequence[Left], conditions: Sequence[str] = (), sort: str | None = None
) -> Comparison:
    """What came of ``runs``, of those that fulfil ``conditions``. ``left`` were left out before.

    Raises:
        Failure: exit 2, for conditions or an order that the runs do not have; exit 6, if no run is finished.
    """
    chosen_runs = chosen(runs, conditions)
    out = [*left, *((run.directory, _unfinished(run)) for run in chosen_runs if run.outcome is None)]
    out += [(run.directory, _unfinished(run)) for run in chosen_runs if run.outcome is not None and run.status != DONE]
    finished = [run for run in chosen_runs if run.outcome is not None and run.status == DONE]
    again = repeated(finished)
    out += [(old.directory, f"has the settings and the seed of {new.directory}, which is newer") for old, new in again]
    kept = [run for run in finished if not any(run is old for old, _ in again)]
    if not kept:
        which = "; ".join(f"{path}: {why}" for path, why in out[:3])
        raise Failure(Exit.RUN, f"no run is finished, so there is nothing to compare\n{one_line(which, 400)}")
    sections = [_section(measure, sort) for measure in measures(kept)]
    return Comparison(tuple(differing(kept)), tuple(kept), tuple(sections), tuple(out), tuple(_notes(sections)))


def _section(measure: Measure, sort: str | None) -> Section:
    keys = differing(measure.runs)
    found = groups(measure.runs, keys)
    if sort is not None:
        found = _sorted(found, measure, sort)
    return Section(measure, tuple(keys), tuple(found), tuple(pairs(found, measure.metric)))


def _sorted(found: list[Group], measure: Measure, sort: str) -> list[Group]:
    if sort in METRICS:
        return sorted(found, key=lambda group: group.after.mean, reverse=METRICS[measure.metric] is max)
    if sort in FIGURES:
        return sorted(found, key=FIGURES[sort])
    key = full_key(sort, measure.runs)
    return sorted(found, key=lambda group: _rank(flat(group.runs[0]).get(key)))


def _rank(value: Any) -> tuple[int, float, str]:
    """Numbers by their size, then texts, then what is not set."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0, float(value), ""
    return (2, 0.0, "") if value is None else (1, 0.0, str(value))


def _unfinished(run: StoredRun) -> str:
    how = f"step {run.steps} of {run.total_steps}"
    if run.status == DONE:
        return "has no held-out score, loss or accuracy"
    failed = f" (exit {run.facts.get('exit_code')})" if run.status == "failed" else ""
    return f"is being trained: {how}" if run.status == RUNNING else f"{run.status}{failed} after {how}"


def _notes(sections: Sequence[Section]) -> list[str]:
    """What a reader must know to believe no more than is shown."""
    notes = []
    found = [group for section in sections for group in section.groups]
    counts = {len(group.runs) for group in found}
    if counts == {1}:
        policies = any(section.measure.metric != "accuracy" for section in sections)
        pairwise = " Two runs are compared prompt by prompt by: rlnlp evaluate RUN --against OTHER" if policies else ""
        notes.append(
            "One seed of each: the intervals are over held-out data, and say nothing about other seeds. "
            f"For that, train several: -m seed={','.join(map(str, range(FEW_SEEDS)))}.{pairwise}"
        )
    elif min(counts) < FEW_SEEDS:
        fewest = counted(min(counts), "seed")
        notes.append(
            f"With {fewest} in a group, intervals are wide and chance decides much: "
            f"'no difference shown' does not mean that there is none. {FEW_SEEDS} seeds or more say more."
        )
    if any(section.pairs for section in sections):
        paired = any(pair.paired for section in sections for pair in section.pairs)
        by_seed = " Groups of the same seeds are paired by seed." if paired else ""
        notes.append(
            "Intervals are over seeds, each for itself; p-values (Student's t) are corrected for the number of pairs "
            f"(Holm).{by_seed} P(better): how often a run of the first group beats one of the other."
        )
    if any(pair.difference.interval[0] == pair.difference.interval[1] for each in sections for pair in each.pairs):
        notes.append("Where seeds show no spread an interval is a point, and p is that of the exact permutation test.")
    if any(group.middle for group in found):
        notes.append("Interquartile mean: that of the middle half of the seeds, with a stratified bootstrap interval.")
    return notes


def gather(paths: Sequence[Path]) -> tuple[list[StoredRun], list[Left]]:
    """The runs that ``paths`` name: run directories, sweeps, or whatever directory has runs below it; each once.

    Raises:
        Failure: exit 6, for a path that is no directory or has no run.
    """
    runs: dict[str, StoredRun] = {}
    left: list[Left] = []
    for path in paths:
        if not path.is_dir():
            raise Failure(
                Exit.RUN, f"no run or sweep {one_line(str(path), 200)}\n{command('runs')} lists what there is"
            )
        found, broken = find_runs(path)
        left += sorted(broken.items())
        if not found and not broken:
            raise Failure(Exit.RUN, f"no run in {one_line(str(path), 200)}")
        for directory in sorted(found, key=in_number_order):
            try:
                runs.setdefault(os.path.realpath(directory), read_run(directory))
            except Failure as failure:
                left.append((directory, str(failure).split("\n")[0].removeprefix(f"{directory} ")))
    return list(runs.values()), left


def in_number_order(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts job 2 before job 10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", str(path)) if part]


def run_names(runs: Sequence[StoredRun]) -> list[str]:
    """The directory of each run, below the one that all are in."""
    paths = [str(run.directory) for run in runs]
    above = os.path.commonpath(paths) if len(set(paths)) > 1 and len({p[:1] == "/" for p in paths}) == 1 else ""
    return [os.path.relpath(path, above) if above else path for path in paths]
