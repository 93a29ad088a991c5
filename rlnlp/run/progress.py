"""How far a run has come: its counts, its lines and its checkpoints, and how it is taken up from them."""

import json
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from rlnlp.config.migrate import migrate_state
from rlnlp.errors import Exit, Failure
from rlnlp.run import checkpoint
from rlnlp.run.checkpoint import Parts, StepSnapshot
from rlnlp.run.jsonl import JsonlFile
from rlnlp.run.nonfinite import broken_weight

SAME_AGAIN = ("metrics", "samples")  # the same seed gives the same lines; timing holds clock readings
ADVICE = "lower algo.learning_rate or algo.max_grad_norm, or look for huge rewards in samples.jsonl"
BEST_BY = {"heldout/score": 1.0, "heldout/loss": -1.0}  # the figures by which a checkpoint is the best, and their signs


class Progress:
    """Steps done and saved. At a step's end its state is whole; a signal goes back to there, a resume to a save."""

    def __init__(self, directory: Path, keep: int) -> None:
        self.folder, self.keep = directory / "checkpoints", keep
        self.lines = {name: JsonlFile(directory / f"{name}.jsonl") for name in (*SAME_AGAIN, "timing")}
        self.totals = {"episodes": 0, "tokens": 0, "skipped": 0}
        self.consecutive_skips = 0  # steps up to now that were skipped
        self.best: dict[str, float] = {}
        self.done = self.saved = 0
        self.seconds = 0.0  # of training, before this process
        self._candidate: float | None = None
        self._trusted: set[str] = set()
        self._inputs: dict[str, str] = {}
        self._fingerprint: dict[str, Any] = {}
        self._boundary: StepSnapshot | None = None
        self._counts = ""

    def restore(
        self, parts: Parts, inputs: dict[str, str], allow: Collection[str], tell: Callable[[str], None]
    ) -> None:
        """Bring ``parts`` and the lines to the newest sound checkpoint; without any checkpoint, to the start.

        ``inputs`` is what the run is inputs from, by setting; where it differs from then, ``allow`` must name it.

        Raises:
            Failure: exit 6, if no checkpoint is sound, or if something differs.
        """
        self._inputs = inputs
        if checkpoint.checkpoints(self.folder):
            state = migrate_state(checkpoint.load(self.folder, parts, tell), inputs)
            for key in sorted(state["inputs"].keys() | inputs.keys()):
                self._compare(key, state["inputs"].get(key), inputs.get(key), allow, tell)
            self.totals, self.best, self.consecutive_skips = state["totals"], state["best"], state["consecutive_skips"]
            self.done = self.saved = state["step"]
            self._trusted.add(checkpoint.name_of(self.saved))
            for name in SAME_AGAIN:
                if not self.lines[name].starts_with(state[name]):
                    copy = self.lines[name].keep_copy()
                    tell(f"{name}.jsonl is not as the run wrote it; its content is kept as {copy.name}")
            self._retain()
        for each in self.lines.values():
            each.truncate_after(self.done)
        self.seconds = sum(row["seconds"] for row in self.lines["timing"].rows())
        self._mark(parts)

    def record_step(
        self, row: dict[str, Any], timing: Mapping[str, float], episodes: int, tokens: int
    ) -> dict[str, Any]:
        """Add the lines of a step, and return its metrics with the counts so far.

        Figures that are not finite are left out; such a step counts as skipped.
        """
        whole = all(map(math.isfinite, row.values()))
        self.totals["episodes"] += episodes
        self.totals["tokens"] += tokens
        self.totals["skipped"] += not whole
        self.consecutive_skips = 0 if whole else self.consecutive_skips + 1
        row = {name: value for name, value in row.items() if math.isfinite(value)}
        row |= {"episodes": self.totals["episodes"], **({} if whole else {"skipped": self.totals["skipped"]})}
        self._candidate = next((sign * row[name] for name, sign in BEST_BY.items() if name in row), None)
        self.lines["metrics"].append(row)
        self.lines["timing"].append(timing)
        return row

    def finish_step(self, step: int, parts: Parts) -> None:
        """The step is done; what was measured at its end may make it the best so far."""
        self.done = step
        if self._candidate is not None and self._candidate > self.best.get("value", -float("inf")):
            self.best = {"step": step, "value": self._candidate}
        self._candidate = None
        self._mark(parts)

    def save(self, parts: Parts) -> None:
        """A checkpoint of the step that is done; older ones go, but for those that are kept and the best.

        Raises:
            Failure: exit 5, if the disk does not take it; exit 8, if a weight is not finite.
        """
        if (name := broken_weight(parts)) is not None:
            raise Failure(Exit.NONFINITE, f"step {self.done}: {name} is not finite; it is not saved\n{ADVICE}")
        for each in self.lines.values():
            each.sync()
        state = {
            "totals": self.totals,
            "best": self.best,
            "consecutive_skips": self.consecutive_skips,
            "inputs": self._inputs,
        }
        state |= {name: self.lines[name].mark() for name in SAME_AGAIN}
        checkpoint.save(self.folder, self.done, parts, state)
        self.saved = self.done
        self._trusted.add(checkpoint.name_of(self.done))
        self._retain()

    def save_boundary(self) -> None:
        """Save the end of the last whole step, if the parts can be brought back to it; else the last save stands.

        Raises:
            Failure: exit 5, if the disk does not take it.
        """
        if self._boundary is None or self.saved == self.done or not self._boundary.rollback():
            return
        self.totals, self.best, self.consecutive_skips = json.loads(self._counts)
        for each in self.lines.values():
            each.truncate_after(self.done)
        self.save(self._boundary.parts)

    def close(self) -> None:
        """Let the files go."""
        for each in self.lines.values():
            each.close()

    def _retain(self) -> None:
        self._trusted = checkpoint.retain(self.folder, self.keep, int(self.best.get("step", -1)), self._trusted)

    def _mark(self, parts: Parts) -> None:
        self._boundary, self._counts = StepSnapshot(parts), json.dumps([self.totals, self.best, self.consecutive_skips])

    def _compare(
        self, key: str, then: str | None, now: str | None, allow: Collection[str], tell: Callable[[str], None]
    ) -> None:
        if then == now:
            return
        if key in allow:
            tell(f"{key}: not what the run had before, as allowed")
            return
        way = (
            f"\nto go on all the same: rlnlp resume {self.folder.parent} resume.allow=[{key}]" if key != "seed" else ""
        )
        raise Failure(Exit.RUN, f"{key}: what it stands for is not what {self.folder} was made with{way}")
