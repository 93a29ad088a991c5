"""The steps of a run as its files get them, read while another process writes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlnlp.run.tracking.tracker import TIMING, Row


class GrowingFile:
    """The whole lines of a JSONL file, each given once."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """The records that are new since the last call; a line that is being written is left for the next."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                yield json.loads(line)


class NewSteps:
    """Metrics and timing of each step, once both are there."""

    def __init__(self, directory: Path) -> None:
        self._metrics = GrowingFile(directory / "metrics.jsonl")
        self._timing = GrowingFile(directory / "timing.jsonl")
        self._untimed: list[dict[str, Any]] = []
        self._times: dict[int, dict[str, Any]] = {}

    def read(self, last: bool) -> list[Row]:
        """The steps that are new since the last call; the ``last`` ones without their timing, if it is missing."""
        self._untimed += self._metrics.rows()
        self._times |= {row["step"]: row for row in self._timing.rows()}
        done = [row for row in self._untimed if last or row["step"] in self._times]
        self._untimed = self._untimed[len(done) :]
        return [Row(row["step"], {**_values(row), **_values(self._times.pop(row["step"], {}), TIMING)}) for row in done]


def _values(row: dict[str, Any], prefix: str = "") -> dict[str, float | str]:
    return {f"{prefix}{name}": value for name, value in row.items() if name != "step"}
