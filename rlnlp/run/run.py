"""One run: its directory and lock, its random streams, its steps with their checkpoints, and its log."""

import io
import os
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeVar

import numpy as np
import torch

from rlnlp import STARTED
from rlnlp.config.changes import steps_of_round
from rlnlp.config.description import block
from rlnlp.config.schema import Trained
from rlnlp.errors import Failure, Stopped, ended_by, exit_code
from rlnlp.rng import stream
from rlnlp.run import manifest
from rlnlp.run.checkpoint import checkpoints, clear_leftovers
from rlnlp.run.clock import Clock
from rlnlp.run.disk import storage_failure
from rlnlp.run.display import Display
from rlnlp.run.ending import error_with_advice, status
from rlnlp.run.live import display
from rlnlp.run.lock import owned
from rlnlp.run.nonfinite import skipped
from rlnlp.run.parts import Parts, weights_sha256
from rlnlp.run.progress import Progress, Seconds
from rlnlp.run.signals import Signals
from rlnlp.run.tracking.beside import tracked

R = TypeVar("R")


class Run:
    """A run directory, locked from start to exit: a new one, or with ``resume_info`` one that exists.

    ``metrics.jsonl`` is the same to the last bit for the same seed; clock readings go to ``timing.jsonl``. A run that
    is resumed keeps its record as it was until its checkpoint is loaded: nothing that is refused changes it.
    """

    def __init__(
        self, directory: Path, config: Trained, command: str, resume_info: manifest.ResumeInfo | None = None,
        hidden: Collection[str] = (), started: float = STARTED,
    ) -> None:  # fmt: skip
        self.directory, self.config, self.seed, self.resume_info = directory, config, config.seed, resume_info
        self.asked = config  # what config.yaml holds; of ``config`` nothing is open once the model is loaded
        self.hidden, self.started = hidden, started  # what config.yaml lacks; of the command, on the monotonic clock
        self.facts = manifest.facts(config, command)
        self.display: Display = display()
        self.signals = Signals(lambda text: self.display.log_message(text), lambda n: self.abandon(Stopped(n)))
        self._unwritten = io.StringIO()
        self._log: TextIO = self._unwritten
        self._accepted = False
        self._parts: Parts = {}
        self._clock = Clock()
        self.timed = self._clock.timed  # a function with its time counted under a phase in timing.jsonl
        self._training_seconds = self._earlier_seconds = 0.0

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
        shown = None if error is None else self._with_advice(error := ended_by(error))
        try:
            with self._files:
                if error is not None and not (self._accepted or isinstance(error, Failure | KeyboardInterrupt)):
                    self._open_log(self._files)  # for the traceback of a bug; run.json stays
                if error is not None:
                    self._log.write("".join(traceback.format_exception(error)))
                self._record_end(shown)
        except OSError as failed:
            if shown is None:
                raise self._with_advice(failed) from failed
            self.display.log_message(f"how the run ended could not be recorded: {failed}")
        if shown is not None and shown is not error:
            raise shown from error

    def abandon(self, error: BaseException) -> None:
        """End the process from another thread, as ``error`` ends a run, for the main thread does not come back."""
        stopped = self._with_advice(error)
        why = "\na reward function did not end: the process ends without it" if isinstance(error, Stopped) else ""
        self.log_message(f"{stopped}{why}")
        self._record_end(stopped)
        os._exit(exit_code(stopped))

    def _record_end(self, error: BaseException | None) -> None:
        (word, code), taken = status(error), self.seconds()
        self._record(status=word, exit_code=int(code), seconds=taken.whole, training_seconds=taken.training)

    def keep(self, resource: AbstractContextManager[R]) -> R:
        """Enter ``resource``, which is left when the run ends."""
        return self._files.enter_context(resource)

    def _with_advice(self, error: BaseException) -> BaseException:
        return error_with_advice(error, self.directory, self.progress, self._parts, self._clock.phase)

    def _open(self, opened: ExitStack) -> None:
        opened.enter_context(self.signals)
        folder = self.directory / "checkpoints"
        if self.resume_info is None:
            self.directory.mkdir(parents=True, exist_ok=True)
        opened.enter_context(owned(self.directory))
        if self.resume_info is None:
            manifest.check_free(self.directory, bool(checkpoints(folder)))
        folder.mkdir(exist_ok=True)
        clear_leftovers(folder)
        clear_leftovers(self.directory / "models")
        manifest.clear_leftovers(self.directory)
        self.progress = Progress(self.directory, self.config.checkpoint.keep, self.config.checkpoint.models_kept)
        opened.callback(self.progress.close)
        if self.resume_info is not None:
            facts = manifest.read_facts(self.directory)
            self.facts |= facts | {key: self.facts[key] for key in ("versions", "status", "exit_code")}
            self._earlier_seconds = float(facts.get("seconds") or 0.0)
        else:
            self._open_log(opened)
            self._accepted = True
            manifest.write_config(self.directory, self.asked, self.hidden)
            self._record()

    def _open_log(self, files: ExitStack) -> None:
        self._log = files.enter_context((self.directory / "train.log").open("a", encoding="utf-8"))
        self._log.write(self._unwritten.getvalue())

    def rng(self, name: str, *index: int) -> np.random.Generator:
        """A fresh generator of the run's stream ``name``, such as ``rng("sampling", step)``."""
        return stream(self.seed, name, *index)

    def steps(self, total: int, parts: Parts) -> Iterator[int]:
        """Restore ``parts`` from the newest checkpoint, if any, and give the steps up to ``total`` that are not done.

        ``parts`` are saved after each step in which a checkpoint is due, that is the best so far, or that is the last.

        Raises:
            Failure: exit 6, if no checkpoint is valid, or if it was made with other inputs than the run has now.
        """
        self.begin(total, parts)
        yield from self.next_steps(total, lambda: self.stopped_early)
        if self.stopped_early and self.progress.done < total:
            self.log_message(self.progress.stopped_text(total))
        self.display.close()

    def begin(self, total: int, parts: Parts) -> None:
        """Restore ``parts`` from the newest checkpoint, if any, and begin to show the steps up to ``total``.

        Raises:
            Failure: as ``steps``.
        """
        self._parts = parts
        inputs = {"seed": str(self.seed), "model.path": weights_sha256(parts), **manifest.sources(self.config)}
        allow = self.resume_info.allow if self.resume_info else ()
        inputs |= self.facts.get("code", {})
        self.progress.restore(total, parts, inputs, allow, self.log_message, steps_of_round(self.config.algo))
        self._training_seconds = self.progress.seconds
        self.signals.remember(self.progress.step_seconds)
        self._begin_record(self.progress.done)
        self.display.begin(total, self.progress.files["metrics"].rows())

    def _begin_record(self, done: int) -> None:
        if self.resume_info is not None:
            self._open_log(self._files)
            self._accepted = True
            manifest.write_config(self.directory, self.asked, self.hidden)
            resumed = [*self.facts.get("resumed", []), manifest.resumed(self.resume_info)]
            self._record(steps=done, settings_sha256=manifest.settings_sha256(self.asked), resumed=resumed)
            self.log_message(f"resuming after step {done}" if done else "no checkpoint yet: starting at the first step")
        self.keep(tracked(self.directory, self.facts["id"], self.config.tracker, done, self.log_message, self.signals))

    def next_steps(self, last: int, over: Callable[[], bool], first: int = 1) -> Iterator[int]:
        """From ``first`` on the steps up to ``last`` that are not done, until ``over()`` says so."""
        self._clock.restart()
        for step in range(max(first, self.progress.done + 1), last + 1):
            if over():
                break
            begun = time.monotonic()
            self._clock.begin_step()
            self.signals.begin_step(step)
            yield step
            with self.signals.deferred():
                self.signals.end_step()
                self.progress.finish_step(step, self._parts)
                every = self.config.checkpoint.every
                due = step == last or (every > 0 and step % every == 0) or over() or self.signals.stops()
                self.progress.save_due(self._parts, due)
            self._training_seconds += time.monotonic() - begun

    def save(self) -> None:
        """Save the parts as they are now, between two steps."""
        with self.signals.deferred():
            self.progress.finish_step(self.progress.done, self._parts)
            self.progress.save(self._parts)

    def log(self, step: int, *, episodes: int, tokens: int, **values: float) -> None:
        """Log the metrics ``values`` of ``step``; ``episodes`` and ``tokens`` are those of this step.

        Raises:
            Failure: as ``log_step``.
        """
        self.log_step({"step": step}, values, episodes, tokens)

    def log_step(
        self, labels: Mapping[str, int | str], values: Mapping[str, float], episodes: int, tokens: int
    ) -> None:
        """The same of the step that the ``labels`` tell from others, ``step`` among them.

        Raises:
            Failure: exit 8, if metrics were not finite for several steps in a row.
        """
        step, (seconds, phases) = int(labels["step"]), self._clock.lap()
        timing = {"step": step, "seconds": seconds, "tokens_per_second": tokens / max(seconds, 1e-9), **phases}
        metrics = {name: float(v) for name, v in values.items()}
        row = self.progress.record_step(labels, metrics, timing, episodes, tokens)
        self.facts["steps"] = step
        self._log.write(self.display.step(step, row, timing) + "\n")
        if "skipped" in row:
            names = sorted(set(metrics) - set(row))
            self.log_message(skipped(step, names, self._parts, self.progress.consecutive_skips))

    def sample(self, step: int, rows: list[dict[str, Any]], show: int) -> None:
        """Append responses to samples.jsonl; show the first ``show`` of them."""
        for i, row in enumerate(rows):
            self.progress.files["samples"].append({"step": step, **row})
            if i < show:
                self.display.sample(step, row["prompt"], row["response"], row["score"])

    def seconds(self) -> Seconds:
        """How long the run has taken so far."""
        return Seconds(now := time.monotonic() - self.started, self._earlier_seconds + now, self._training_seconds)

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
        self.write_log(text)

    def describe(self, texts: Mapping[str, str]) -> None:
        """Show texts with their labels, and append them to train.log."""
        self.display.describe(texts)
        self.write_log(block(texts))

    def finish(self, **result: Any) -> None:
        """Record the result in ``run.json``."""
        self._record(result=result)

    def decide(self, config: Trained, decided: Mapping[str, float]) -> None:
        """Take ``config`` for the run and record what was ``decided`` where the settings leave it open."""
        self.config = config
        self._record(decided=dict(decided))

    def computes_on(self, device: torch.device, threads: int, processes: int = 1) -> None:
        """Record hardware and versions; log it if a resumed run has others than before."""
        then, now = self.facts["fingerprint"], manifest.fingerprint(threads, str(device), processes)
        if then and then != now:
            different = manifest.differences(then, now)
            self.log_message(f"hardware or versions changed ({different}): resuming, but not bit-identical")
            self.facts["bit_exact"] = False
        self._record(fingerprint=now)

    def write_log(self, text: str) -> None:
        """Append to train.log."""
        print(f"{text}\n", end="", file=self._log, flush=True)  # in one piece: the tracker's lines come from a thread

    def _record(self, **values: Any) -> None:
        self.facts.update(values, **self.progress.totals)
        if self._accepted:
            manifest.write_facts(self.directory, self.facts)
