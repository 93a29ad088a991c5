"""The run directories below a directory."""

import os
from collections.abc import Iterator
from pathlib import Path

from rlnlp.run.lock import is_owned

BROKEN = "run.json is missing"
COMMAND_FILE = "command.json"  # in the directory of a sweep: what it was asked


def is_sweep(directory: Path) -> bool:
    """True for the directory of a sweep that has begun its first job."""
    return (directory / COMMAND_FILE).is_file()


def sweep_of(run: Path) -> Path | None:
    """The directory of the sweep that a run belongs to, if any."""
    return next((each for each in run.parents if is_sweep(each)), None)


def find_runs(top: Path) -> tuple[list[Path], dict[Path, str]]:
    """(run directories at or below ``top``, what is wrong with each directory that was one), in no order.

    Hidden directories are left out; no directory is looked into twice, and none of a run's own.
    """
    runs: list[Path] = []
    broken: dict[Path, str] = {}
    for directory, names in _walk(top, broken):
        if "run.json" in names:
            runs.append(directory)
        elif {"config.yaml", "lock"} <= names and not is_owned(directory):
            broken[directory] = BROKEN
    return runs, broken


def _walk(top: Path, broken: dict[Path, str]) -> Iterator[tuple[Path, set[str]]]:
    """Each directory with the names in it; links are followed last, so that a run has the path that it was made at."""
    waiting: list[Path] = [top]
    links: list[Path] = []
    seen: set[tuple[int, int]] = set()
    while waiting or links:
        directory = waiting.pop() if waiting else links.pop()
        try:
            status = directory.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(directory) as found:
                entries = list(found)
        except OSError as error:
            if directory != top and not isinstance(error, FileNotFoundError):  # removed while this looks around
                broken[directory] = f"it cannot be read ({type(error).__name__})"
            continue
        names = {entry.name for entry in entries}
        yield directory, names
        if "run.json" not in names and not {"config.yaml", "lock"} <= names:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir():
                    (links if entry.is_symlink() else waiting).append(directory / entry.name)
