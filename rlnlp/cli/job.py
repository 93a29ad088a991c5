"""One job of a sweep. ``python -m rlnlp.cli.job DIRECTORY`` runs the settings that come on stdin."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from rlnlp.cli.exits import guarded, leave_threads, print_error
from rlnlp.cli.streams import lasting_streams
from rlnlp.cli.sweep import write_command
from rlnlp.cli.sweep_progress import JobOutput, SweepProgress
from rlnlp.commands.preflight import parse_run_config
from rlnlp.commands.resume import check_named, start_or_resume
from rlnlp.config.setting import leaves
from rlnlp.errors import Exit, Failure, Stopped
from rlnlp.evaluate.outcome import METRICS, in_words, outcome
from rlnlp.run.disk import replace
from rlnlp.run.handlers import handled, held_back, release
from rlnlp.run.manifest import read_facts, without_secrets


class Job:
    """The function that Hydra calls with the composed settings of a job of a sweep."""

    def __init__(self, command: str, words: list[str], named: list[str] | None, names: list[str] | None = None) -> None:
        self.command, self.words = command, words
        self.named = named  # what the user has typed of a sweep that is resumed, whose settings a file holds
        self.names = names  # of each job, the words in which it differs from the others, where they are known
        self.progress = SweepProgress(None if names is None else len(names))
        self.sweep: Path | None = None
        self.directories: list[Path] = []
        self.stopped: Stopped | None = None

    def __call__(self, composed: Any) -> float | None:
        """Run it in a process of its own, whose end stops no other job."""
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf

        hydra = HydraConfig.get()
        directory = _short(Path(hydra.runtime.output_dir))
        if self.sweep is None:
            self.sweep = _short(Path(hydra.sweep.dir))
            if hydra.job.num == 0:  # launchers may begin the others in other processes
                print_error(self.progress.title(self.sweep))
            if self.named is None:
                write_command(self.sweep, self.command, self.words)
        (self.sweep / "multirun.yaml").unlink(missing_ok=True)  # Hydra's; it holds every word that was typed
        self.directories.append(directory)
        typed: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
        again = len(self.named or [])  # words that name code and secrets again are no settings of the sweep
        own = typed[: len(typed) - again]
        overrides = [without_secrets(word.lstrip("+")) for word in own]
        words = " ".join(_chosen(overrides, self.words)) if self.names is None else self.names[hydra.job.num]
        before = read_facts(directory).get("seconds")
        output = JobOutput(self.progress.label(hydra.job.num, self._below(directory), words), directory)
        with output:
            status = guarded(f"rlnlp {self.command}", lambda: self._job(composed, directory, output))
        record = {"job": hydra.job.num, "overrides": overrides, "exit_code": status if status >= 0 else 128 - status}
        replace(directory / "job.json", json.dumps(record) + "\n")
        facts = read_facts(directory)
        done = not status and before is not None and before == facts.get("seconds")
        self.progress.ended(output, record["exit_code"], in_words(facts.get("result", {})), done)
        if self.stopped is not None:
            raise self.stopped
        return _reached(facts.get("result", {}))

    def _below(self, directory: Path) -> Path:
        return directory.relative_to(self.sweep) if self.sweep and directory.is_relative_to(self.sweep) else directory

    def _job(self, composed: Any, directory: Path, output: JobOutput) -> int:
        if self.named is not None and self.sweep is not None:
            check_named(self.sweep, parse_run_config(plain(composed)), self.named)
        return self._process(composed, directory, output)

    def _process(self, composed: Any, directory: Path, output: JobOutput) -> int:
        """The exit status of the settings run in a process of their own; below 0 for a signal.

        Every signal goes to that process from here: it is in a session of its own, out of the terminal's reach.
        """
        running: list[subprocess.Popen[str]] = []

        def forward(number: int, _: FrameType | None) -> None:
            self.stopped, output.passing = Stopped(number), True
            for child in running:
                child.send_signal(number)

        request = json.dumps({"settings": plain(composed), "hidden": from_environment(composed)})
        words = [sys.executable, "-m", "rlnlp.cli.job", str(directory), self.command]
        streams: Any = {"stdin": subprocess.PIPE, "stdout": output.stdout, "stderr": output.stderr}
        with handled(forward):
            with held_back():  # it may interrupt no import
                child = subprocess.Popen(words, **streams, text=True, start_new_session=True)
                running.append(child)
            with child:
                child.communicate(request)
        return child.returncode


def plain(composed: Any) -> Any:
    """Composed settings as plain containers, interpolations resolved.

    Raises:
        Failure: exit 2, for an interpolation that leads nowhere.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if error.full_key else ""
        raise Failure(Exit.CONFIG, where + str(error.msg).split("\n")[0]) from error


def from_environment(composed: Any) -> list[str]:
    """The keys of values that come from environment variables: they may be secrets, and are not written down."""
    from omegaconf import OmegaConf

    found = leaves(OmegaConf.to_container(composed, resolve=False))
    return [key for key, value in found if isinstance(value, str) and "${oc.env:" in value]


def _chosen(overrides: list[str], typed: list[str]) -> list[str]:
    """Of the words of a job those that its sweeper has chosen: the others were typed as they are."""
    fixed = {without_secrets(word.lstrip("+")) for word in typed}
    return [word for word in overrides if word not in fixed]


def _short(directory: Path) -> Path:
    """``directory`` as the user would type it from here."""
    here = Path.cwd()
    return directory.relative_to(here) if directory.is_relative_to(here) else directory


def _reached(result: Mapping[str, Any]) -> float | None:
    """What sweepers are to maximize: the figure that a finished job is judged by, a loss with a minus; None without."""
    found = outcome(result)
    if found is None:
        return None
    return found.after if METRICS[found.metric] is max else -found.after


def _child() -> int:
    release()
    request = json.load(sys.stdin)
    start_or_resume(request["settings"], Path(sys.argv[1]), sys.argv[2], request["hidden"])
    return Exit.DONE


if __name__ == "__main__":
    with lasting_streams():  # whether the sweep can print is for its own process to tell
        ended = guarded(f"rlnlp {sys.argv[2]}", _child)
    leave_threads(ended)
    raise SystemExit(ended)
