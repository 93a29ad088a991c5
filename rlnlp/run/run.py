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
from rlnlp.errors import Exit, Failure, Stopped, exit_code, one_line, out_of_memory
from rlnlp.rng import stream
from rlnlp.run import manifest
from rlnlp.run.checkpoint import Parts, checkpoints, clear_leftovers, content, step_of
from rlnlp.run.disk import storage_failure
from rlnlp.run.display import Display, display
from rlnlp.run.lock import owned
from rlnlp.run.nonfinite import BUDGET, broken_gradient, broken_weight, forget_gradients
from rlnlp.run.progress import ADVICE, Progress
from rlnlp.run.signals import Signals

P = ParamSpec("P")
R = TypeVar("R")
ROOM = {"sampling": ("algo.batch_size", " or sampler.max_new_tokens"), "the start": ("model.path", ": a smaller one")}
STOPPED = (Exit.INTERRUPT, Exit.TERMINATED, Exit.HANGUP)


@dataclass(frozen=True)
class ResumeInfo:
    """How a run is taken up again: what may differ from before, and the settings that do, old and new."""

    allow: frozenset[str]
    changed: dict[str, list[Any]]


class Run:
    """A run directory, owned from creation to exit; with ``resume_info``, one that is there already.

    ``metrics.jsonl`` holds what the same seed gives again, to the last bit; clock readings go to ``timing.jsonl``.
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
        self.hidden = hidden  # settings whose values are not written down
        self.facts = manifest.facts(config, command)
        self.display: Display = display()
        self.signals = Signals()
        self._parts: Parts = {}
        self._phase = "the start"
        self._spent: dict[str, float] = {}
        self._clock = self._training = self._earlier = 0.0

    def __enter__(self) -> "Run":
        """Take the directory.

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
        """Write how it ended; the traceback of an error goes to train.log.

        Raises:
            Failure: what ended the run, with the command that takes it up again.
        """
        self.signals.hold()
        self.display.close()
        told = None if error is None else self._error_with_advice(error)
        code = Exit.DONE if told is None else exit_code(told)
        status = "done" if told is None else "interrupted" if code in STOPPED else "failed"
        try:
            with self._files:
                if error is not None:
                    self._text.write("".join(traceback.format_exception(kind, error, trace)))
                seconds = self._earlier + time.monotonic() - STARTED
                self._record(status=status, exit_code=int(code), seconds=seconds, training_seconds=self._training)
        except OSError as failed:
            if told is None:
                raise self._error_with_advice(failed) from failed
            self.display.say(f"how the run ended could not be written down: {failed}")
        if told is not None and told is not error:
            raise told from error

    def _error_with_advice(self, error: BaseException) -> BaseException:
        """The error as the user is told of it, with the way on."""
        way = f"continue with: rlnlp resume {self.directory}"
        if isinstance(error, KeyboardInterrupt):
            name, code = (str(error), Exit(128 + error.number)) if isinstance(error, Stopped) else ("SIGINT", 130)
            try:
                self.progress.save_boundary()
            except Failure as failure:
                return failure
            found = checkpoints(self.progress.folder)
            saved = f"step {step_of(found[-1])} is saved" if found else "no step is saved yet"
            return Failure(Exit(code), f"stopped by {name} after step {self.progress.done}; {saved}\n{way}")
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            error = storage_failure("writing", self.directory, error)
        if isinstance(error, Failure) and error.code == Exit.STORAGE:
            return Failure(error.code, f"{error}\n{way}")
        if isinstance(error, Failure) and error.code == Exit.NONFINITE:
            return self._not_finite(error)
        if out_of_memory(error):
            key, more = ROOM.get(self._phase, ("algo.micro_batch_size", ""))
            what = f"out of memory in step {self.progress.done + 1} ({self._phase}): {one_line(str(error), 120)}"
            return Failure(Exit.MEMORY, f"{what}\nlower {key}{more}\n{way} {key}=... resume.allow={key}")
        return error

    def _not_finite(self, error: Failure) -> Failure:
        tensor, saved = broken_weight(self._parts), self.progress.saved
        if tensor is not None and tensor not in str(error):
            error = Failure(error.code, str(error).replace("\n", f"; {tensor} is not\n", 1))
        last = f"the last good checkpoint is of step {saved}" if saved else "no checkpoint was saved yet"
        again = f"rlnlp resume {self.directory} algo.learning_rate=... resume.allow=algo.learning_rate"
        return Failure(error.code, f"{error}\n{last}; try: {again}")

    def _open(self, opened: ExitStack) -> None:
        opened.enter_context(self.signals)
        folder = self.directory / "checkpoints"
        if self.resume_info is None:
            self.directory.mkdir(parents=True, exist_ok=True)
        opened.enter_context(owned(self.directory))
        if self.resume_info is None and (manifest.begun(self.directory) or checkpoints(folder)):
            way = f"continue it with rlnlp resume {self.directory}, or choose another directory with hydra.run.dir="
            raise Failure(Exit.RUN, f"{self.directory} holds a run already\n{way}")
        folder.mkdir(exist_ok=True)
        clear_leftovers(folder)
        manifest.clear_leftovers(self.directory)
        self._text = opened.enter_context((self.directory / "train.log").open("a"))
        self.progress = Progress(self.directory, self.config.checkpoint.keep)
        opened.callback(self.progress.close)
        if self.resume_info is not None:
            facts = manifest.read_facts(self.directory)
            self.facts |= facts | {key: self.facts[key] for key in ("versions", "status", "exit_code")}
            self._earlier = float(facts.get("seconds") or 0.0)
        else:
            manifest.write_config(self.directory, self.config, self.hidden)
        self._record()

    def rng(self, name: str, *index: int) -> np.random.Generator:
        """A fresh generator of the run's stream ``name``, such as ``rng("sampling", step)``."""
        return stream(self.seed, name, *index)

    def timed(self, phase: str, function: Callable[P, R]) -> Callable[P, R]:
        """``function`` with its seconds counted under ``phase`` of the step it is called in."""

        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            before, outer, self._phase = time.monotonic(), self._phase, phase
            result = function(*args, **kwargs)
            self._phase = outer  # after an error it says where that was
            self._spent[phase] = self._spent.get(phase, 0.0) + time.monotonic() - before
            return result

        return counted

    def steps(self, total: int, parts: Parts) -> Iterator[int]:
        """The steps up to ``total`` that are not done yet; ``parts`` become what the newest checkpoint holds, if any.

        After a step's body, ``parts`` are saved if a checkpoint is due, and always at the end.

        Raises:
            Failure: exit 6, if the checkpoints are damaged, or made from something else than the run is built from.
        """
        self._parts = parts
        self._restore(total, parts)
        self.display.begin(total)
        begun = self._clock = time.monotonic()
        self._spent.clear()
        for step in range(self.progress.done + 1, total + 1):
            self._phase = "the update"
            yield step
            with self.signals.held():
                self.progress.finish_step(step, parts)
                every = self.config.checkpoint.every
                if step == total or (every and step % every == 0):
                    self.progress.save(parts)
            self._training = self.progress.seconds + time.monotonic() - begun
        self.display.close()

    def _restore(self, total: int, parts: Parts) -> None:
        own = {"seed": str(self.seed), "model.path": content(parts)}
        inputs = {**own, **manifest.sources(self.config), **self.facts.get("code", {})}
        self.progress.restore(parts, inputs, self.resume_info.allow if self.resume_info else (), self.log_message)
        done, self._training = self.progress.done, self.progress.seconds
        if done > total:
            raise Failure(Exit.RUN, f"algo.total_steps is {total}, but {self.directory} has done step {done} already")
        if self.resume_info is not None:  # only what fits what is there becomes the run's
            manifest.write_config(self.directory, self.config, self.hidden)
            again = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "changed": self.resume_info.changed}
            sha = manifest.facts(self.config, "")["settings_sha256"]
            self._record(steps=done, settings_sha256=sha, resumed=[*self.facts.get("resumed", []), again])
            self.log_message(f"resuming after step {done}" if done else "no checkpoint yet: starting at the first step")

    def log(self, step: int, *, episodes: int, tokens: int, **values: float) -> None:
        """One line of metrics for ``step``; ``episodes`` and ``tokens`` are those of this step.

        Raises:
            Failure: exit 8, if figures were not finite for some steps in a row.
        """
        seconds = time.monotonic() - self._clock
        timing = {"step": step, "seconds": seconds, "tokens_per_second": tokens / max(seconds, 1e-9), **self._spent}
        self._clock += seconds
        self._spent.clear()
        figures = {"step": step, **{name: float(v) for name, v in values.items()}}
        row = self.progress.record_step(figures, timing, episodes, tokens)
        self.facts["steps"] = step
        self._text.write(self.display.step(step, row, timing) + "\n")
        if "skipped" in row:
            self._skip(step, sorted(set(figures) - set(row)))

    def _skip(self, step: int, missing: list[str]) -> None:
        tensor = broken_gradient(self._parts) or broken_weight(self._parts)
        forget_gradients(self._parts)
        where = f"first in {tensor}" if tensor else "in no tensor: it is the sum that is too large"
        told = f"step {step}: {', '.join(missing)} not finite ({where}); the update was skipped"
        if self.progress.consecutive_skips >= BUDGET:
            raise Failure(Exit.NONFINITE, f"{told}, for {BUDGET} steps in a row now\n{ADVICE}")
        self.log_message(told)

    def sample(self, step: int, rows: list[dict[str, Any]], show: int) -> None:
        """Keep responses in samples.jsonl; show the first of them."""
        for row in rows:
            self.progress.lines["samples"].append({"step": step, **row})
        for row in rows[:show]:
            self.display.sample(row["prompt"], row["response"], row["score"])

    def due(self, every: int, step: int) -> bool:
        """True at step 1 and at each multiple of ``every``; never for 0."""
        return every > 0 and (step == 1 or step % every == 0)

    def log_message(self, text: str) -> None:
        """A line for the person and for train.log."""
        self.display.say(text)
        self._text.write(text + "\n")
        self._text.flush()

    def finish(self, **result: Any) -> None:
        """What the algorithm reached, for ``run.json``."""
        self._record(result=result)

    def computes_on(self, device: torch.device, threads: int) -> None:
        """Store what the last bits depend on; when it is not what it was, the run goes on, and says so."""
        then, now = self.facts["fingerprint"], manifest.fingerprint(threads, str(device))
        if then and then != now:
            other = ", ".join(
                f"{k} {then.get(k)} -> {now.get(k)}" for k in sorted({*then, *now}) if then.get(k) != now.get(k)
            )
            self.log_message(f"hardware or versions changed ({other}): resuming, but not bit-identical")
            self.facts["bit_exact"] = False
        self._record(fingerprint=now)

    def _record(self, **values: Any) -> None:
        self.facts.update(values, **self.progress.totals)
        manifest.write_facts(self.directory, self.facts)
