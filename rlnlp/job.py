"""One job of a run or a sweep. ``python -m rlnlp.job DIRECTORY`` runs the settings that come on stdin."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlnlp.commands.train import perform
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.outcome import guarded


class Job:
    """The function that Hydra calls with composed settings."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.sweep: Path | None = None
        self.places: list[Path] = []
        self.error: Exception | None = None  # Hydra prints a header of its own over what is raised through it

    def __call__(self, composed: Any) -> float | None:
        """Run it here; or, as one of a sweep, in a process of its own, whose end stops no other job."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        hydra = HydraConfig.get()
        place = _short(Path(hydra.runtime.output_dir))
        if hydra.mode != RunMode.MULTIRUN:
            try:
                perform(plain(composed), place, self.command)
            except Exception as error:
                self.error = error
                with suppress(OSError):
                    place.rmdir()  # if nothing was written, the folder that Hydra made
            return None
        self.sweep = Path(hydra.sweep.dir)
        self.places.append(place)
        overrides = [word.lstrip("+") for word in hydra.overrides.task]
        print(f"job {hydra.job.num}: {one_line(' '.join(overrides))}", file=sys.stderr, flush=True)
        who = f"rlnlp {self.command}"
        status = guarded(who, lambda: _process(plain(composed), place, self.command))
        record = {"job": hydra.job.num, "overrides": overrides, "exit_code": status if status >= 0 else 128 - status}
        (place / "job.json").write_text(json.dumps(record) + "\n")
        return _reached(place)


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


def _process(settings: Any, place: Path, command: str) -> int:
    """The exit status of the settings run in a process of their own; below 0 for a signal."""
    words = [sys.executable, "-m", "rlnlp.job", str(place), command]
    return subprocess.run(words, input=json.dumps(settings), text=True, check=False).returncode


def _short(place: Path) -> Path:
    """``place`` as the user would type it from here."""
    here = Path.cwd()
    return place.relative_to(here) if place.is_relative_to(here) else place


def _reached(place: Path) -> float | None:
    """The held-out score of a finished job, for sweepers that optimise; None if it has none."""
    try:
        result = json.loads((place / "run.json").read_text())["result"]
        return float(result["after"]["score"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _child() -> int:
    perform(json.load(sys.stdin), Path(sys.argv[1]), sys.argv[2])
    return Exit.DONE


if __name__ == "__main__":
    raise SystemExit(guarded(f"rlnlp {sys.argv[2]}", _child))
