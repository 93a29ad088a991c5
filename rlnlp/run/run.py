"""One run: its directory and lock, its random streams, its steps with their checkpoints, and its log."""

import time
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch

from rlnlp import STARTED
from rlnlp.config.schema import Common
from rlnlp.errors import Exit, Failure
from rlnlp.rng import stream
from rlnlp.run import manifest
from rlnlp.run.checkpoint import checkpoints, clear_leftovers
from rlnlp.run.disk import storage_failure
from rlnlp.run.display import Display, display
from rlnlp.run.ending import START, UPDATE, error_with_advice, status
from rlnlp.run.lock import owned
from rlnlp.run.nonfinite import ADVICE, BUDGET, clear_gradients, skip_message
from rlnlp.run.parts import Parts, weights_sha256
from rlnlp.run.progress import Progress
from rlnlp.run.signals import Signals

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class ResumeInfo:
    """How a run is resumed: ``allow`` names settings that may differ, ``changed`` has old and new of those that do."""

    allow: frozenset[str]
    changed: dict[str, list[Any]]


class Run:
    """A run directory, locked from start to exit: a new one, or with ``resume_info`` one that exists.

    ``metrics.jsonl`` is the same to the last bit for the same seed; clock readings go to ``timing.jsonl``.
    """

    def __init__(
        self,
        directory: Path,
        config: Common,
        command: str,
        resume_info: ResumeInfo | None = None,
        hidden: Collection[str] = (),
    ) -> None:
        self.directory, self.config, self.seed, self.resume_info = directory, config, config.seed, resume_info
        self.hidden = hidden  # settings whose values are not written to config.yaml
        self.facts = manifest.facts(config, command)
        self.display: Display = display()
        self.signals = Signals()
        self._parts: Parts = {}
        self._phase = START
        self._phase_seconds: dict[str, float] = {}
        self._clock = self._training_seconds = self._earlier_seconds = 0.0

    def __enter__(self) -> "Run":
        """Lock and open the directory.

        Raises:
            Failure: exit 6 if it belongs to another run, exit 5 if it cannot be written.
        """
        with ExitStack() as opened:
            try:
                self._open(opened)
            except OSError as error:
                raise storage_failure("opening the run directory", self.directory, error) from error
            self._files = opened.pop_all()
        self.log_message(f"run directory {self.directory}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record how the run ended; the traceback of an error goes to train.log.

        Raises:
            Failure: what ended the run, with the command that resumes it.
        """
        self.signals.defer()
        self.display.close()
        shown = None if error is None else self._with_advice(error)
        word, code = status(shown)
        try:
            with self._files:
                if error is not None:
                    self._log.write("".join(traceback.format_exception(kind, error, trace)))
                seconds = self._earlier_seconds + time.monotonic() - STARTED
                training_seconds = self._training_seconds
                self._record(status=word, exit_code=int(code), seconds=seconds, training_seconds=training_seconds)
        except OSError as failed:
            if shown is None:
                raise self._with_advice(failed) from failed
            self.display.log_message(f"how the run ended could not be recorded: {failed}")
        if shown is not None and shown is not error:
            raise shown from error

    def _with_advice(self, error: BaseException) -> BaseException:
        return error_with_advice(error, self.directory, self.progress, self._parts, self._phase)

    def _open(self, opened: ExitStack) -> None:
        opened.enter_context(self.signals)
        folder = self.directory / "checkpoints"
        if self.resume_info is None:
            self.directory.mkdir(parents=True, exist_ok=True)
        opened.enter_context(owned(self.directory))
        if self.resume_info is None and (manifest.has_run(self.directory) or checkpoints(folder)):
            advice = f"continue it with rlnlp resume {self.directory}, or choose another directory with hydra.run.dir="
            raise Failure(Exit.RUN, f"{self.directory} holds a run already\n{advice}")
        folder.mkdir(exist_ok=True)
        for each in (folder, self.directory / "models"):
            clear_leftovers(each)
        manifest.clear_leftovers(self.directory)
        self._log = opened.enter_context((self.directory / "train.log").open("a"))
        settings = self.config.checkpoint
        self.progress = Progress(self.directory, settings.keep, settings.models_kept)
        opened.callback(self.progress.close)
        if self.resume_info is not None:
            facts = manifest.read_facts(self.directory)
            self.facts |= facts | {key: self.facts[key] for key in ("versions", "status", "exit_code")}
            self._earlier_seconds = float(facts.get("seconds") or 0.0)
        else:
            manifest.write_config(self.directory, self.config, self.hidden)
        self._record()

    def rng(self, name: str, *index: int) -> np.random.Generator:
        """A fresh generator of the run's stream ``name``, such as ``rng("sampling", step)``."""
        return stream(self.seed, name, *index)

    def timed(self, phase: str, function: Callable[P, R]) -> Callable[P, R]:
        """``function`` with its time counted under ``phase`` in timing.jsonl."""

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            before, outer, self._phase = time.monotonic(), self._phase, phase
            result = function(*args, **kwargs)
            self._phase = outer  # not after an error: its message names the phase
            self._phase_seconds[phase] = self._phase_seconds.get(phase, 0.0) + time.monotonic() - before
            return result

        return call

    def steps(self, total: int, parts: Parts) -> Iterator[int]:
        """Restore ``parts`` from the newest checkpoint, if any, and give the steps up to ``total`` that are not done.

        ``parts`` are saved after each step in which a checkpoint is due or that is the best so far, and after the last:
        that of ``total``, or the one where early stopping ends the run.

        Raises:
            Failure: exit 6, if no checkpoint is valid, or if it was made with other inputs than the run has now.
        """
        self._parts = parts
        self._restore(total, parts)
        self.display.begin(total)
        started = self._clock = time.monotonic()
        self._phase_seconds.clear()
        for step in range(self.progress.done + 1, total + 1):
            if self.stopped_early:
                break
            self._phase = UPDATE
            yield step
            with self.signals.deferred():
                self.progress.finish_step(step, parts)
                every = self.config.checkpoint.every
                due = step == total or (every > 0 and step % every == 0) or self.stopped_early
                self.progress.save_due(parts, due)
            self._training_seconds = self.progress.seconds + time.monotonic() - started
        if self.stopped_early and self.progress.done < total:
            last, best = self.progress.done, self.progress.best_step
            self.log_message(
                f"stopped early after step {last} of {total}: step {best} is still the best (heldout.patience)"
            )
        self.display.close()

    def _restore(self, total: int, parts: Parts) -> None:
        own = {"seed": str(self.seed), "model.path": weights_sha256(parts)}
        inputs = {**own, **manifest.sources(self.config), **self.facts.get("code", {})}
        self.progress.restore(parts, inputs, self.resume_info.allow if self.resume_info else (), self.log_message)
        done, self._training_seconds = self.progress.done, self.progress.seconds
        if done > total:
            raise Failure(Exit.RUN, f"algo.total_steps is {total}, but {self.directory} has done step {done} already")
        if self.resume_info is not None:  # only now: settings that do not fit the checkpoint are not written
            manifest.write_config(self.directory, self.config, self.hidden)
            resumed = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "changed": self.resume_info.changed}
            sha = manifest.facts(self.config, "")["settings_sha256"]
            self._record(steps=done, settings_sha256=sha, resumed=[*self.facts.get("resumed", []), resumed])
            self.log_message(f"resuming after step {done}" if done else "no checkpoint yet: starting at the first step")

    def log(self, step: int, *, episodes: int, tokens: int, **values: float) -> None:
        """Log the metrics ``values`` of ``step``; ``episodes`` and ``tokens`` are those of this step.

        Raises:
            Failure: exit 8, if metrics were not finite for ``BUDGET`` steps in a row.
        """
        seconds = time.monotonic() - self._clock
        speed = tokens / max(seconds, 1e-9)
        timing = {"step": step, "seconds": seconds, "tokens_per_second": speed, **self._phase_seconds}
        self._clock += seconds
        self._phase_seconds.clear()
        metrics = {"step": step, **{name: float(v) for name, v in values.items()}}
        row = self.progress.record_step(metrics, timing, episodes, tokens)
        self.facts["steps"] = step
        self._log.write(self.display.step(step, row, timing) + "\n")
        if "skipped" in row:
            self._skip(step, sorted(set(metrics) - set(row)))

    def _skip(self, step: int, names: list[str]) -> None:
        message = skip_message(step, names, self._parts)
        clear_gradients(self._parts)
        if self.progress.consecutive_skips >= BUDGET:
            raise Failure(Exit.NONFINITE, f"{message}, for {BUDGET} steps in a row now\n{ADVICE}")
        self.log_message(message)

    def sample(self, step: int, rows: list[dict[str, Any]], show: int) -> None:
        """Append responses to samples.jsonl; show the first ``show`` of them."""
        for row in rows:
            self.progress.files["samples"].append({"step": step, **row})
        for row in rows[:show]:
            self.display.sample(row["prompt"], row["response"], row["score"])

    @property
    def stopped_early(self) -> bool:
        """True once ``heldout.patience`` measurements in a row were no better than the best before."""
        return 0 < self.config.heldout.patience <= self.progress.since_best

    def due(self, every: int | None, step: int) -> bool:
        """True at step 1 and at each multiple of ``every``; never for 0 and None."""
        return every is not None and every > 0 and (step == 1 or step % every == 0)

    def log_message(self, text: str) -> None:
        """Show a line and append it to train.log."""
        self.display.log_message(text)
        self._log.write(text + "\n")
        self._log.flush()

    def finish(self, **result: Any) -> None:
        """Record the result in ``run.json``."""
        self._record(result=result)

    def computes_on(self, device: torch.device, threads: int) -> None:
        """Record hardware and versions; log it if a resumed run has others than before."""
        then, now = self.facts["fingerprint"], manifest.fingerprint(threads, str(device))
        if then and then != now:
            different = manifest.differences(then, now)
            self.log_message(f"hardware or versions changed ({different}): resuming, but not bit-identical")
            self.facts["bit_exact"] = False
        self._record(fingerprint=now)

    def _record(self, **values: Any) -> None:
        self.facts.update(values, **self.progress.totals)
        manifest.write_facts(self.directory, self.facts)
