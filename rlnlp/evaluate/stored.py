"""A run as its directory holds it: what it was asked, how far it has come, what it reached. Imports no torch."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnlp.config.migrate import migrate_facts
from rlnlp.errors import Exit, Failure, describe
from rlnlp.evaluate.outcome import Outcome, outcome
from rlnlp.run.lock import is_owned
from rlnlp.run.manifest import read_settings

STAGES = ("reward_model", "policy")  # of a round
RUNNING, DONE, INTERRUPTED = "running", "done", "interrupted"
TAIL = 2**16  # bytes at the end of metrics.jsonl that hold its last row


@dataclass(frozen=True)
class StoredRun:
    """``facts`` are those of run.json, ``settings`` those of config.yaml, nested; ``status`` is what it is now.

    ``steps`` are done; ``seconds`` is the time that it took so far, None where nobody wrote it down.
    """

    directory: Path
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]
    status: str
    steps: int
    seconds: float | None
    outcome: Outcome | None

    @property
    def algo(self) -> str:
        """The name of its algorithm."""
        return str(self.settings["algo"]["name"])

    @property
    def total_steps(self) -> int | None:
        """The steps that it was asked for."""
        algo = self.settings["algo"]
        whole: int | None = algo["rounds"] * self.round_steps if self.round_steps else algo.get("total_steps")
        return whole

    @property
    def round_steps(self) -> int:
        """The steps of a round; 0 for a run without rounds."""
        algo = self.settings["algo"]
        return sum(algo[stage]["total_steps"] for stage in STAGES) if "rounds" in algo else 0

    @property
    def rounds(self) -> tuple[int, int] | None:
        """The round that it has come to, and those that it was asked for; None for a run without rounds."""
        if not self.round_steps:
            return None
        return -(-self.steps // self.round_steps), int(self.settings["algo"]["rounds"])

    @property
    def result(self) -> Mapping[str, Any]:
        """What it reached; empty before its end."""
        found = self.facts.get("result")
        return found if isinstance(found, Mapping) else {}


def read_run(directory: Path) -> StoredRun:
    """The run in ``directory``.

    Raises:
        Failure: exit 6, if it is no run directory, or not as a run writes it.
    """
    facts = stored_facts(directory)
    settings = read_settings(directory)
    try:
        found = outcome(facts.get("result") or {})
        seconds = None if facts.get("seconds") is None else float(facts["seconds"])
        steps = int(facts.get("steps") or 0)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise Failure(Exit.RUN, f"{directory}/run.json is not as a run writes it ({describe(error)})") from error
    status = status_now(directory, facts)
    if status != DONE:
        steps = max(steps, last_step(directory))
        seconds = (seconds or 0.0) + _unrecorded_seconds(directory, facts, status) or None
    return StoredRun(directory, facts, settings, status, steps, seconds, found)


def stored_facts(directory: Path) -> dict[str, Any]:
    """The content of ``run.json``.

    Raises:
        Failure: exit 6, if it cannot be read.
    """
    try:
        facts = json.loads((directory / "run.json").read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = f"run.json cannot be read ({type(error).__name__})"
        raise Failure(Exit.RUN, f"{directory} is not a run directory: {reason}") from error
    if not isinstance(facts, dict):
        raise Failure(Exit.RUN, f"{directory} is not a run directory: run.json holds no facts")
    return migrate_facts(facts)


def status_now(directory: Path, facts: Mapping[str, Any]) -> str:
    """``running`` while a process trains it; of a run whose process has died, ``interrupted``; else as recorded."""
    if is_owned(directory):
        return RUNNING
    status = str(facts.get("status"))
    return INTERRUPTED if status == RUNNING else status


def last_step(directory: Path) -> int:
    """The last step in ``metrics.jsonl``; 0 if there is none."""
    try:
        with (directory / "metrics.jsonl").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # the last line may be incomplete
    return 0


def _unrecorded_seconds(directory: Path, facts: Mapping[str, Any], status: str) -> float:
    """Those of the process that is training, or that died: from when it took the lock to now, or to its last step."""
    if facts.get("status") != RUNNING and status != RUNNING:
        return 0.0
    try:
        begun = (directory / "lock").stat().st_mtime
        ended = time.time() if status == RUNNING else (directory / "metrics.jsonl").stat().st_mtime
    except OSError:
        return 0.0
    return max(0.0, ended - begun)
