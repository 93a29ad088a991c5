"""The table at the end of a sweep: what each job reached, the best of them, and the spread over seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from rlnlp.run.display import as_text

SEED = "seed"
METRICS = {"score": max, "loss": min}  # what a result is judged by -> which of two is better
Jobs = list[dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What a job reached: the name of its metric, before and after training, and the difference with its interval."""

    metric: str
    n: int
    heldout: bool
    before: float
    after: float
    difference: float
    interval: tuple[float, float] | None
    kl: float | None


def outcome(result: Mapping[str, Any]) -> Outcome | None:
    """The outcome in the ``result`` of run.json; None for a job that has none."""
    for metric in METRICS:
        if metric in result.get("after", {}):
            difference = result["difference"][metric]
            whole = difference if isinstance(difference, Mapping) else {"mean": difference, **result["difference"]}
            ends = whole["interval"]
            return Outcome(
                metric, result["n"], result.get("heldout", True), result["before"][metric], result["after"][metric],
                whole["mean"], (ends[0], ends[1]) if ends else None, result["after"].get("kl"),
            )  # fmt: skip
    return None


def in_words(result: Mapping[str, Any]) -> str:
    """The outcome of a job on one line; empty if it has none."""
    found = outcome(result)
    if found is None:
        return ""
    return f"{found.metric} {found.before:.3f} -> {found.after:.3f}, {' '.join(_difference(found)).strip()}"


def sweep_table(jobs: Jobs, width: int) -> RenderableType:
    """Settings that differ, outcome and time of each job; below it the best job and the spread over seeds.

    In a terminal of fewer than 100 columns (``width``) the columns stand closer, and long settings are broken.
    """
    swept, best = swept_settings(jobs), best_job(jobs)
    rows = {job["job"]: outcome(job["result"]) for job in jobs}
    failed = any(job["status"] != "done" for job in jobs)
    title = _title([row for row in rows.values() if row])
    figures = ("before", "after", "difference", "95 % interval", "KL", "s", "")
    table = _table(title, ["job"], _short_names(swept), [*(["status"] if failed else []), *figures], width)
    for job in jobs:
        settings, row = settings_of(job), rows[job["job"]]
        cells = [str(job["job"]), *(settings.get(name, "") for name in swept), *([job["status"]] if failed else [])]
        cells += [_figure(row.before), _figure(row.after), *_difference(row), _figure(row.kl, 2)] if row else [""] * 5
        table.add_row(*map(as_text, [*cells, _figure(job["seconds"], 0), "best" if job is best else ""]))
    parts: list[RenderableType] = [table]
    if best is None and sum(row is not None for row in rows.values()) > 1:
        parts.append(as_text(_incomparable(jobs)))
    spread = _seed_table(jobs, [name for name in swept if name != SEED], width)
    if spread is not None:
        parts += [as_text(""), spread]
    return Group(*parts)


def _table(title: str, first: list[str], settings: list[str], figures: list[str], width: int) -> Table:
    gap = 2 if width >= 100 else 1
    table = Table(title=as_text(title), title_justify="left", box=None, padding=(0, gap, 0, 0))
    for column in [*first, *settings, *figures]:
        table.add_column(as_text(column), no_wrap=column not in settings, overflow="fold")
    return table


def _short_names(keys: list[str]) -> list[str]:
    """The keys without their groups, where no two are then alike."""
    ends = [key.rpartition(".")[2] for key in keys]
    return [end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)]


def best_job(jobs: Jobs) -> dict[str, Any] | None:
    """The job with the best metric after training; None where there are not two whose figures can be compared."""
    found = [(job, row) for job in jobs if (row := outcome(job["result"]))]
    if len(found) < 2 or _incomparable(jobs):
        return None
    better = METRICS[found[0][1].metric]
    return better(found, key=lambda pair: pair[1].after)[0]


def _incomparable(jobs: Jobs) -> str:
    """Why the figures of the jobs cannot be compared; empty if they can."""
    swept = swept_settings(jobs)
    metrics = {row.metric for job in jobs if (row := outcome(job["result"]))}
    changing = [name for name in swept if name.split(".")[0] in ("reward", "data", "heldout")]
    if len(metrics) > 1:
        return "no job is marked as the best: a score and a loss cannot be compared"
    return f"no job is marked as the best: {', '.join(changing)} changes what is measured" if changing else ""


def swept_settings(jobs: Jobs) -> list[str]:
    """The settings whose values differ between jobs."""
    names = dict.fromkeys(name for job in jobs for name in settings_of(job))
    return [name for name in names if len({settings_of(job).get(name) for job in jobs}) > 1]


def settings_of(job: Mapping[str, Any]) -> dict[str, str]:
    """The settings that the job was given, as they were typed."""
    return dict(word.partition("=")[::2] for word in job["overrides"])


def _seed_table(jobs: Jobs, others: list[str], width: int) -> Table | None:
    """Mean and standard deviation over the jobs that differ in their seed only; None if no seed was swept."""
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for job in jobs:
        row, settings = outcome(job["result"]), settings_of(job)
        if row is not None and SEED in settings:
            groups.setdefault(tuple(settings.get(name, "") for name in others), []).append(row)
    if all(len(rows) < 2 for rows in groups.values()):
        return None
    figures = ["seeds", "before", "after", "difference", "KL", ""]
    table = _table("over seeds: mean ± standard deviation", [], _short_names(others), figures, width)
    compared = len(groups) > 1 and not _incomparable(jobs)
    means = {values: mean(row.after for row in rows) for values, rows in groups.items()}
    best = METRICS[next(iter(groups.values()))[0].metric](means, key=lambda values: means[values]) if compared else None
    for values, rows in groups.items():
        kls = [row.kl for row in rows if row.kl is not None]
        columns = [[row.before for row in rows], [row.after for row in rows], [row.difference for row in rows], kls]
        signs = ("", "", "+", "")
        cells = [_spread(column, sign) for column, sign in zip(columns, signs, strict=True)]
        table.add_row(*map(as_text, [*values, str(len(rows)), *cells, "best" if values == best else ""]))
    return table


def _title(rows: list[Outcome]) -> str:
    """Of what the figures are."""
    metrics = sorted({row.metric for row in rows})
    if not rows:
        return "no job has a result"
    sizes = sorted({row.n for row in rows})
    what = "held-out" if all(row.heldout for row in rows) else "training"
    names = {"score": f"score of responses to {what} prompts", "loss": f"loss on {what} texts, nats per token"}
    return f"{'; '.join(names[metric] for metric in metrics)} ({' or '.join(map(str, sizes))})"


def _difference(row: Outcome) -> tuple[str, str]:
    """The difference and its interval."""
    ends = f"[{row.interval[0]:+.3f}, {row.interval[1]:+.3f}]" if row.interval else ""
    return f"{row.difference:+.3f}", ends


def _figure(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _spread(values: list[float], sign: str) -> str:
    if not values:
        return ""
    return f"{mean(values):{sign}.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")
