"""The jobs of a sweep, all of them checked before the first begins."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnlp.cli.composition import Composition
from rlnlp.cli.hydra_guard import check_directories
from rlnlp.cli.job import plain
from rlnlp.commands.preflight import checked_config
from rlnlp.commands.resume import same_settings
from rlnlp.config.choices import conf_dir
from rlnlp.errors import Failure, one_line
from rlnlp.run.manifest import without_secrets

MOST_TOLD = 10  # jobs whose faults are printed


@dataclass(frozen=True)
class CheckedJob:
    """A job of a sweep with its settings; ``words`` are those in which the jobs differ."""

    number: int
    words: str
    config: Any
    directory: Path


def checked_jobs(composition: Composition) -> list[CheckedJob] | None:
    """The jobs of a sweep; None if its sweeper chooses them as it goes, so that each is checked when it begins.

    Raises:
        Failure: what is wrong with each job, with the exit code of what is most basic.
    """
    jobs = composition.jobs()
    if jobs is None:
        check_directories(place for place in composition.directories() if place != conf_dir())
        return None
    names = _names([words for words, _ in jobs])
    checked: list[CheckedJob] = []
    faults: list[tuple[str, Failure]] = []
    for number, (name, (_, job)) in enumerate(zip(names, jobs, strict=True)):
        try:
            if isinstance(job, Failure):
                raise job
            config = checked_config(plain(job.task()))
            if (job.directory / "config.yaml").exists():
                same_settings(job.directory, config)
            checked.append(CheckedJob(number, name, config, job.directory))
        except Failure as failure:
            faults.append((f"job {number}" + (f" ({name})" if name else ""), failure))
    if faults:
        raise _all_of(faults, len(jobs))
    return checked


def _all_of(faults: list[tuple[str, Failure]], count: int) -> Failure:
    code = min(failure.code for _, failure in faults)
    if len(faults) == count and len({str(failure) for _, failure in faults}) == 1:
        return Failure(code, str(faults[0][1]))
    lines = [f"{job}: {line}" for job, failure in faults[:MOST_TOLD] for line in str(failure).split("\n")]
    more = len(faults) - MOST_TOLD
    return Failure(code, "\n".join([*lines, f"and {more} more of {count} jobs"] if more > 0 else lines))


def _names(jobs: list[list[str]]) -> list[str]:
    """For each job, the words in which it differs from another."""
    common = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set[str]()
    own = [[without_secrets(word.lstrip("+")) for word in words if word not in common] for words in jobs]
    return [one_line(" ".join(words), 120) for words in own]
