"""The end of a sweep: a table of its jobs, ``sweep.json``, and an exit code that depends on whether all succeeded."""

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rlnlp.errors import Exit
from rlnlp.run.display import as_text

WIDTH = 200  # columns of a table that is not printed to a terminal


def summary(directory: Path, directories: list[Path]) -> int:
    """Write and print how the jobs of a sweep ended, each in one of ``directories``. Returns exit 10 if some failed.

    A launcher that runs jobs in processes of its own leaves ``directories`` empty; the jobs are then searched for.
    """
    found = [directory / "job.json" for directory in directories] or sorted(directory.rglob("job.json"))
    jobs = [_job(path) for path in found]
    jobs.sort(key=lambda job: job["job"])
    (directory / "sweep.json").write_text(json.dumps(jobs, indent=1) + "\n")
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(as_text(directory), soft_wrap=True)
    console.print(_table(jobs))
    failed = [job for job in jobs if job["exit_code"]]
    if failed:
        for job in failed:
            log = Path(job["directory"]) / "train.log"
            hint = f": see {log}" if log.is_file() else ""
            print(f"job {job['job']} failed with exit {job['exit_code']}{hint}", file=sys.stderr)
    return Exit.SWEEP if failed else Exit.DONE


def _job(path: Path) -> dict[str, Any]:
    job: dict[str, Any] = json.loads(path.read_text())
    try:
        run = json.loads((path.parent / "run.json").read_text())
    except (OSError, ValueError):
        run = {}
    return {
        **job,
        "directory": str(path.parent),
        "status": run.get("status", "failed") if not job["exit_code"] else "failed",
        "seconds": run.get("seconds"),
        "result": run.get("result", {}),
    }


def _table(jobs: list[dict[str, Any]]) -> Table:
    swept = _swept(jobs)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("job", *swept, "status", "before", "after", "KL", "seconds"):
        table.add_column(as_text(column))
    for job in jobs:
        settings = dict(word.partition("=")[::2] for word in job["overrides"])
        before, after = job["result"].get("before", {}), job["result"].get("after", {})
        metric = "score" if "score" in after else "loss"
        metrics = (before.get(metric), after.get(metric), after.get("kl"), job["seconds"])
        cells = [str(job["job"]), *(settings.get(name, "") for name in swept), job["status"]]
        table.add_row(*map(as_text, cells), *("" if x is None else f"{x:.3f}" for x in metrics))
    return table


def _swept(jobs: list[dict[str, Any]]) -> list[str]:
    values: dict[str, set[str]] = {}
    for job in jobs:
        for word in job["overrides"]:
            name, _, value = word.partition("=")
            values.setdefault(name, set()).add(value)
    return [name for name, each in values.items() if len(each) > 1]
