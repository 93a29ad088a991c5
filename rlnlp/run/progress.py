"""How far a run has come: its counts, its JSONL files and its checkpoints, and how it is restored from them."""

import json
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from rlnlp.config.changes import check_total_steps
from rlnlp.config.migrate import migrate_state
from rlnlp.errors import Exit, Failure, command
from rlnlp.processes.rows import barrier
from rlnlp.run import checkpoint
from rlnlp.run.checksums import faults, name_of
from rlnlp.run.jsonl import JsonlFile
from rlnlp.run.nonfinite import ADVICE, broken_weight
from rlnlp.run.parts import Parts, Pretrained, StepSnapshot

DETERMINISTIC = ("metrics", "samples")  # the same seed gives the same lines; timing holds clock readings
BEST_BY = {"heldout/score": 1.0, "heldout/loss": -1.0}  # the metric that names the best checkpoint, and its sign


class Seconds(NamedTuple):
    """Of the present command; of all commands of the run; and of training in all of them."""

    command: float
    whole: float
    training: float


class Progress:
    """Steps done and saved. A signal goes back to the last step that is done, a resume to the last that is saved.

    ``keep`` checkpoints stay; and ``keep_models`` snapshots, a policy each as it was measured (None: all of them).
    """

    def __init__(self, directory: Path, keep: int, keep_models: int | None = 0) -> None:
        self.folder, self.keep = directory / "checkpoints", keep
        self.models, self.keep_models = directory / "models", keep_models
        self._models_asked = keep_models
        self.files = self._opened(directory)
        self.totals = {"episodes": 0, "tokens": 0, "skipped": 0}
        self.consecutive_skips = 0  # steps skipped in a row up to now
        self.best: dict[str, float] = {}
        self.since_best = 0  # measurements since the best one
        self.done = self.saved = 0
        self.step_seconds: list[float] = []  # of each step before this process
        self.seconds = 0.0  # of training, before this process
        self._candidate: float | None = None
        self._measured = self._heldout = False
        self._verified: set[str] = set()
        self._verified_models: set[str] = set()
        self._inputs: dict[str, str] = {}
        self._snapshot: StepSnapshot | None = None
        self._counts = ""

    def _opened(self, directory: Path) -> dict[str, JsonlFile]:
        return {name: JsonlFile(directory / f"{name}.jsonl") for name in (*DETERMINISTIC, "timing")}

    def restore(
        self,
        total: int,
        parts: Parts,
        inputs: dict[str, str],
        allow: Collection[str],
        log_message: Callable[[str], None],
        round_steps: int = 0,
    ) -> None:
        """Bring ``parts`` and the files to the newest valid checkpoint; without any checkpoint, to the start.

        ``total`` is the last step of the run, ``round_steps`` those of a round, if it has rounds. ``inputs``
        identifies the content of what the run is built from, by setting; ``allow`` must name what differs from the
        checkpoint's.

        Raises:
            Failure: exit 6, with no file changed, if no checkpoint is valid, if an input differs, or if the newest
                checkpoint is of a step after ``total``.
        """
        self._inputs = inputs
        if checkpoint.checkpoints(self.folder):
            state = migrate_state(checkpoint.load(self.folder, parts, log_message), inputs)
            for key in sorted(state["inputs"].keys() | inputs.keys()):
                self._compare(key, state["inputs"].get(key), inputs.get(key), allow, log_message)
            barrier()  # before the first process removes any of them
            check_total_steps(total, state["step"], self.folder.parent, round_steps)
            self.totals, self.best, self.consecutive_skips = state["totals"], state["best"], state["consecutive_skips"]
            self.since_best = state["since_best"]
            self.done = self.saved = state["step"]
            self._verified.add(name_of(self.saved))
            for name in DETERMINISTIC:
                if not self.files[name].starts_with(state[name]):
                    copy = self.files[name].keep_copy()
                    log_message(f"{name}.jsonl is not as the run wrote it; its content is kept as {copy.name}")
            self._retain()
        self._remove_later()
        for file in self.files.values():
            file.truncate_after(self.done)
        self.step_seconds = [row["seconds"] for row in self.files["timing"].rows()]
        self.seconds = sum(self.step_seconds)
        self._take_snapshot(parts)

    def record_step(
        self, labels: Mapping[str, int | str], metrics: Mapping[str, float], timing: Mapping[str, float],
        episodes: int, tokens: int,
    ) -> dict[str, Any]:  # fmt: skip
        """Append the lines of a step, which begin with its ``labels``; return the first with the counts so far.

        Metrics that are not finite are left out; such a step counts as skipped.
        """
        finite = all(map(math.isfinite, metrics.values()))
        self.totals["episodes"] += episodes
        self.totals["tokens"] += tokens
        self.totals["skipped"] += not finite
        self.consecutive_skips = 0 if finite else self.consecutive_skips + 1
        row: dict[str, Any] = {**labels, **{name: value for name, value in metrics.items() if math.isfinite(value)}}
        row |= {"episodes": self.totals["episodes"], **({} if finite else {"skipped": self.totals["skipped"]})}
        self._heldout = any(name.startswith("heldout/") for name in row)
        self._candidate = next((sign * row[name] for name, sign in BEST_BY.items() if name in row), None)
        self.files["metrics"].append(row)
        self.files["timing"].append(timing)
        return row

    def finish_step(self, step: int, parts: Parts) -> None:
        """The step is done; what was measured in it may make it the best so far."""
        self.done, self._measured, self._heldout = step, self._heldout, False
        if self._candidate is not None:
            self.since_best += 1
            if self._candidate > self.best.get("value", -math.inf):
                self.best, self.since_best = {"step": step, "value": self._candidate}, 0
        self._candidate = None
        self._take_snapshot(parts)

    def saved_step(self) -> int:
        """The step of the newest checkpoint that is there; 0 without any."""
        return max(map(checkpoint.step_of, checkpoint.checkpoints(self.folder)), default=0)

    @property
    def best_step(self) -> int | None:
        """The step that was the best so far on held-out data; None if none was measured."""
        return int(self.best["step"]) if self.best else None

    def save_due(self, parts: Parts, due: bool) -> None:
        """Save what the step that is done leaves: a snapshot if it was measured, a checkpoint if ``due`` or the best.

        Raises:
            Failure: exit 5, if the disk fails; exit 8, if a weight is not finite.
        """
        if self._measured and self.keep_models != 0:
            self._save_model(parts)
        if due or self.best_step == self.done:
            self.save(parts)

    def settle_models(self, best: tuple[int, float] | None) -> None:
        """Policies were kept until it is known which is the ``best`` (its step, its value): now as many as asked for.

        Raises:
            Failure: exit 5, if the disk fails.
        """
        self.best = {} if best is None else {"step": best[0], "value": best[1]}
        self.keep_models = self._models_asked
        if self.keep_models is not None and self.models.is_dir():
            self._verified_models = checkpoint.retain(
                self.models, self.keep_models, self.best_step, self._verified_models
            )

    def load_model(self, step: int, name: str, module: nn.Module) -> None:
        """Load the part ``name`` of the policy that was kept of ``step``.

        Raises:
            Failure: exit 6, if it is damaged or of another model.
        """
        kept = self.models / name_of(step)
        if (fault := next(faults(kept), None)) is not None:
            raise Failure(Exit.RUN, f"{kept} cannot be used: {fault}")
        checkpoint.load_part(kept, name, module)

    def stopped_text(self, total: int) -> str:
        """That training ends before step ``total``, and why."""
        return f"stopped early after step {self.done} of {total}: step {self.best_step} is still the best"

    def fault_of_best(self) -> str | None:
        """What is wrong with the checkpoint of the best step; None if it is as it was written."""
        return next(faults(self.folder / name_of(self.best_step or 0)), None)

    def load_best(self, name: str, module: nn.Module) -> None:
        """Load the weights of the best step into ``module``, the part ``name``."""
        checkpoint.load_part(self.folder / name_of(self.best_step or 0), name, module)

    def save(self, parts: Parts) -> None:
        """Save a checkpoint of the last step; remove older ones, except the newest ``keep`` and the best.

        Raises:
            Failure: exit 5, if the disk fails; exit 8, if a weight is not finite.
        """
        self._check_finite(parts)
        for file in self.files.values():
            file.sync()
        state = {
            "totals": self.totals,
            "best": self.best,
            "since_best": self.since_best,
            "consecutive_skips": self.consecutive_skips,
            "inputs": self._inputs,
        }
        state |= {name: self.files[name].mark() for name in DETERMINISTIC}
        checkpoint.save(self.folder, self.done, parts, state)
        self.saved = self.done
        self._verified.add(name_of(self.done))
        self._retain()

    def save_last_step(self) -> None:
        """Save the last step that is done, if the parts can be brought back to its end; else save nothing.

        Raises:
            Failure: exit 5, if the disk fails.
        """
        if self._snapshot is None or self.saved == self.done or not self._snapshot.rollback():
            return
        self.totals, self.best, self.since_best, self.consecutive_skips = json.loads(self._counts)
        for file in self.files.values():
            file.truncate_after(self.done)
        self.save(self._snapshot.parts)

    def close(self) -> None:
        """Close the files."""
        for file in self.files.values():
            file.close()

    def _check_finite(self, parts: Parts) -> None:
        if (name := broken_weight(parts)) is not None:
            raise Failure(Exit.NONFINITE, f"step {self.done}: {name} is not finite; it is not saved\n{ADVICE}")

    def _save_model(self, parts: Parts) -> None:
        self._check_finite(parts)
        self.models.mkdir(exist_ok=True)
        checkpoint.save(self.models, self.done, self._kept(parts), {})
        kept = self._verified_models | {name_of(self.done)}
        if self.keep_models is not None:
            kept = checkpoint.retain(self.models, self.keep_models, self.best_step, kept)
        self._verified_models = kept

    def _kept(self, parts: Parts) -> Parts:
        loadable = {name: part for name, part in parts.items() if isinstance(part, Pretrained)}
        return loadable or {name: part for name, part in parts.items() if isinstance(part, nn.Module)}

    def _remove_later(self) -> None:
        checkpoint.remove_later(self.models, self.done)

    def _retain(self) -> None:
        self._verified = checkpoint.retain(self.folder, self.keep, self.best_step, self._verified)

    def _take_snapshot(self, parts: Parts) -> None:
        counts = [self.totals, self.best, self.since_best, self.consecutive_skips]
        self._snapshot, self._counts = StepSnapshot(parts), json.dumps(counts)

    def _compare(
        self, key: str, then: str | None, now: str | None, allow: Collection[str], log_message: Callable[[str], None]
    ) -> None:
        if then == now:
            return
        if key in allow:
            log_message(f"{key}: its content differs from before, as allowed")
            return
        anyway = command("resume", self.folder.parent, f"resume.allow={key}")
        advice = f"\nto resume anyway: {anyway}" if key != "seed" else ""
        raise Failure(Exit.RUN, f"{key}: its content differs from what {self.folder} was made with{advice}")
