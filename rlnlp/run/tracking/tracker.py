"""What a tracker is given of a run, and what it does with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rlnlp.config.setting import leaves
from rlnlp.config.tracker import TRACKERS
from rlnlp.errors import Exit, Failure

FOLDER = "tracker"  # of a run directory: all that the tracker keeps there
TIMING = "timing/"  # before the names of timing.jsonl


@dataclass(frozen=True)
class Request:
    """What the process beside the run is asked for: plain data. ``saved`` is the step that the run goes on from."""

    directory: str
    id: str
    tracker: str
    project: str
    run_name: str
    offline: bool
    saved: int


class Row(NamedTuple):
    """What is logged of a step: numbers by their names, and a few texts such as the ``stage`` of rlhf."""

    step: int
    values: Mapping[str, float | str]

    @property
    def numbers(self) -> dict[str, float]:
        """The values that are numbers."""
        return {name: float(value) for name, value in self.values.items() if not isinstance(value, str)}


@dataclass(frozen=True)
class TrackedRun:
    """A run as its tracker knows it: ``id`` is the same after each resume, ``sweep`` is empty outside of one.

    ``folder`` is for files of the tracker's. ``sent`` is the last step that this tracker was given before, ``saved``
    the one that the run went on from: steps after it are taken again.
    """

    id: str
    name: str
    project: str
    sweep: str
    settings: Mapping[str, Any]
    folder: Path
    offline: bool
    sent: int
    saved: int


class Tracker(Protocol):
    """An open run of a tracker's.

    ``last_step`` is the last step that it keeps: those up to it are not logged. ``where`` says where it can be seen.
    """

    last_step: int
    where: str

    def log(self, rows: Sequence[Row]) -> None:
        """Log steps after ``last_step``, in their order."""
        ...

    def end(self, status: str, result: Mapping[str, Any]) -> None:
        """Log how the run ended and what it reached, and hand everything on; the run may be resumed later."""
        ...


def opener(name: str) -> Callable[[TrackedRun], Tracker]:
    """How the tracker ``name`` opens a run, anew or where it was left."""
    found: Callable[[TrackedRun], Tracker] = import_module(f"rlnlp.run.tracking.to_{name}").opened
    return found


def check_installed(name: str) -> None:
    """Check that the package of a tracker is there. A folder of that name, as W&B makes one, is no package.

    Raises:
        Failure: exit 2, with what to install.
    """
    spec = find_spec(name) if name in TRACKERS else None
    if name in TRACKERS and (spec is None or spec.origin is None):
        raise Failure(
            Exit.CONFIG,
            f"tracker.name={name}: {TRACKERS[name]} is not installed\ninstall it: pip install 'rlnlp[{name}]'",
        )


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Each setting by its full key; what is neither a number, a truth value nor a text becomes a text."""
    return {
        key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in leaves(settings)
    }


def numbers_of(result: Mapping[str, Any], prefix: str = "result") -> dict[str, float]:
    """The numbers of nested results, as ``result/after/score``; the two ends of an interval as its low and high."""
    found: dict[str, float] = {}
    for name, value in result.items():
        key = f"{prefix}/{name}"
        if isinstance(value, Mapping):
            found |= numbers_of(value, key)
        elif name.endswith("interval") and isinstance(value, list) and len(value) == 2:
            found |= numbers_of(dict(zip(("low", "high"), value, strict=True)), key)
        elif isinstance(value, int | float):
            found[key] = float(value)
    return found
