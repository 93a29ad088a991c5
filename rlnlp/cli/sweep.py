"""The end of a sweep: a table of its jobs, ``sweep.json``, and an exit code that depends on whether all succeeded."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlnlp.cli.sweep_table import sweep_table
from rlnlp.errors import Exit, Failure, command, describe
from rlnlp.run.disk import replace
from rlnlp.run.display import as_text, piped_or_terminal
from rlnlp.run.find import COMMAND_FILE
from rlnlp.run.manifest import without_secrets


def write_command(directory: Path, name: str, words: list[str]) -> None:
    """Record the command of a sweep and what it was given, without secrets, for ``rlnlp resume``."""
    record = {"command": name, "words": [without_secrets(word) for word in words]}
    replace(directory / COMMAND_FILE, json.dumps(record, indent=1) + "\n")


def read_command(directory: Path) -> tuple[str, list[str]]:
    """The command of a sweep and what it was given, but for its directory.

    Raises:
        Failure: exit 6, if the record cannot be read.
    """
    try:
        record = json.loads((directory / COMMAND_FILE).read_text())
        name, words = record["command"], [str(word) for word in record["words"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Failure(Exit.RUN, f"{directory / COMMAND_FILE} cannot be read ({describe(error)})") from error
    return str(name), [word for word in words if not word.startswith("hydra.sweep.dir=")]


def summary(directory: Path, directories: list[Path], planned: Sequence[int] = ()) -> int:
    """Write and print how the jobs of a sweep ended, each in one of ``directories``. Returns exit 10 if some failed.

    A launcher that runs jobs in processes of its own leaves ``directories`` empty; the jobs are then searched for. Of
    the numbers ``planned``, those without a record were ended from outside.
    """
    found = [directory / "job.json" for directory in directories] or sorted(directory.rglob("job.json"))
    jobs = [_job(path) for path in found if path.is_file()]
    known = {job["job"] for job in jobs}
    lost = [number for number in planned if number not in known]
    jobs.sort(key=lambda job: job["job"])
    (directory / "sweep.json").write_text(json.dumps(jobs, indent=1) + "\n")
    console = piped_or_terminal()
    console.print(as_text(directory), soft_wrap=True)
    console.print(sweep_table(jobs, console.width))
    _compare(directory, [Path(job["directory"]) for job in jobs if job["result"]])
    failed = [job for job in jobs if job["exit_code"]]
    if failed:
        for job in failed:
            log = Path(job["directory"]) / "train.log"
            hint = f": see {log}" if log.is_file() else ""
            print(f"job {job['job']} failed with exit {job['exit_code']}{hint}", file=sys.stderr)
    if lost:
        numbers = ", ".join(map(str, lost))
        way = command("resume", directory)
        print(f"jobs that were ended from outside or not begun: {numbers}; to do them: {way}", file=sys.stderr)
    return Exit.SWEEP if failed or lost else Exit.DONE


def _compare(directory: Path, runs: list[Path]) -> None:
    """Print what there is to say over seeds, and write the comparison of the jobs that have a result.

    Whatever goes wrong here is told and decides nothing: the jobs have ended as they have.
    """
    if len(runs) < 2:
        return
    try:
        from rlnlp.evaluate.compare.comparison import compare, gather
        from rlnlp.evaluate.compare.files import where_line, write_all
        from rlnlp.evaluate.compare.pages import show_seeds

        comparison = compare(*gather(runs))
        show_seeds(comparison)
        print(where_line(write_all(comparison, directory)))
    except Exception as error:
        way = command("compare", directory)
        print(f"warning: the jobs could not be compared ({describe(error)}); to try again: {way}", file=sys.stderr)


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
