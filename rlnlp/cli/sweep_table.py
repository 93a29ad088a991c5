"""The table at the end of a sweep: what each job was given and reached, and the best of them."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from rlnlp.evaluate.outcome import IN_WORDS, METRICS, Outcome, outcome
from rlnlp.run.display import as_text

Jobs = list[dict[str, Any]]


def sweep_table(jobs: Jobs, width: int) -> RenderableType:
    """Settings that differ, outcome and time of each job; the best job is marked.

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
    why = best is None and sum(row is not None for row in rows.values()) > 1
    return Group(table, *([as_text(_incomparable(jobs))] if why else []))


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
        names = " and ".join(IN_WORDS[metric] for metric in IN_WORDS if metric in metrics)
        return f"no job is marked as the best: {names} cannot be compared"
    return f"no job is marked as the best: {', '.join(changing)} changes what is measured" if changing else ""


def swept_settings(jobs: Jobs) -> list[str]:
    """The settings whose values differ between jobs."""
    names = dict.fromkeys(name for job in jobs for name in settings_of(job))
    return [name for name in names if len({settings_of(job).get(name) for job in jobs}) > 1]


def settings_of(job: Mapping[str, Any]) -> dict[str, str]:
    """The settings that the job was given, as they were typed."""
    return dict(word.partition("=")[::2] for word in job["overrides"])


def _title(rows: list[Outcome]) -> str:
    """Of what the figures are."""
    metrics = sorted({row.metric for row in rows})
    if not rows:
        return "no job has a result"
    sizes = sorted({row.n for row in rows})
    what = "held-out" if all(row.heldout for row in rows) else "training"
    names = {
        "accuracy": f"accuracy on {what} pairs", "score": f"score of responses to {what} prompts",
        "loss": f"loss on {what} texts, nats per token",
        "win_rate": f"win rate against the first policy on {what} prompts",
    }  # fmt: skip
    return f"{'; '.join(names[metric] for metric in metrics)} ({' or '.join(map(str, sizes))})"


def _difference(row: Outcome) -> tuple[str, str]:
    """The difference and its interval."""
    ends = f"[{row.interval[0]:+.3f}, {row.interval[1]:+.3f}]" if row.interval else ""
    return f"{row.difference:+.3f}", ends


def _figure(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"
