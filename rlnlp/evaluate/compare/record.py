"""A comparison as plain data, for programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlnlp.evaluate.compare.comparison import Comparison, Section
from rlnlp.evaluate.compare.groups import Figure, Pair
from rlnlp.evaluate.compare.settings import flat, values_of
from rlnlp.evaluate.stored import StoredRun


def record(comparison: Comparison, files: Mapping[str, Path]) -> dict[str, Any]:
    """All of it as plain data; ``files`` are those that were written."""
    numbered = list(enumerate(comparison.sections))
    firsts = [sum(len(s.groups) for s in comparison.sections[:i]) for i, _ in numbered]
    return {
        "settings": values_of(comparison.runs, comparison.keys),
        "runs": [_run(run, i, comparison.keys) for i, section in numbered for run in section.measure.runs],
        "groups": [_group(section, n, i) for i, section in numbered for n in range(len(section.groups))],
        "pairs": [_pair(pair, i, first) for (i, s), first in zip(numbered, firsts, strict=True) for pair in s.pairs],
        "measures": [
            {"metric": s.measure.metric, "title": s.measure.title, "apart": s.measure.apart} for _, s in numbered
        ],
        "not_counted": [{"run": str(path), "reason": reason} for path, reason in comparison.left],
        "notes": list(comparison.notes),
        "files": {name: str(path) for name, path in files.items()},
    }


def _run(run: StoredRun, measure: int, keys: Sequence[str]) -> dict[str, Any]:
    reached, settings = run.outcome, flat(run)
    assert reached is not None, "of runs that are finished"
    return {
        "run": str(run.directory), "measure": measure, "metric": reached.metric, reached.metric: reached.after,
        "before": reached.before, "difference": reached.difference, "difference_interval": reached.interval,
        "kl": reached.kl, "n": reached.n, "algo": run.algo, "seed": settings.get("seed"),
        "where": {key: settings[key] for key in keys if key in settings}, "steps": run.steps, "seconds": run.seconds,
    }  # fmt: skip


def _group(section: Section, number: int, measure: int) -> dict[str, Any]:
    group, metric = section.groups[number], section.measure.metric
    return {
        "where": dict(group.where), "n": len(group.runs), metric: group.after.mean,
        f"{metric}_interval": group.after.interval, "measure": measure, "metric": metric, "seeds": list(group.seeds),
        "runs": [str(run.directory) for run in group.runs], "before": group.before.mean,
        "before_interval": group.before.interval, "difference": group.difference.mean,
        "difference_interval": group.difference.interval, **_optional("kl", group.kl),
        **_optional("interquartile_mean", group.middle), "best": number == section.best,
    }  # fmt: skip


def _optional(name: str, figure: Figure | None) -> dict[str, Any]:
    return {name: figure and figure.mean, f"{name}_interval": figure and figure.interval}


def _pair(pair: Pair, measure: int, first: int) -> dict[str, Any]:
    return {
        "group": first + pair.better, "against": first + pair.other, "measure": measure, "paired": pair.paired,
        "difference": pair.difference.mean, "difference_interval": pair.difference.interval, "p": pair.difference.p,
        "p_holm": pair.p_holm, "probability_of_improvement": pair.improvement,
        "probability_of_improvement_interval": pair.improvement_interval, "verdict": pair.verdict,
    }  # fmt: skip
