"""One run: its directory and lock, its random streams, its steps with their checkpoints, and its log."""

import fcntl
import json
import os
import secrets
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch

from rlnlp import STARTED, checkpoint, manifest
from rlnlp.config import Common
from rlnlp.console import Display, display
from rlnlp.errors import Exit, Failure
from rlnlp.outcome import exit_code
from rlnlp.streams import stream

P = ParamSpec("P")
R = TypeVar("R")


class Run:
    """A run directory, owned from creation to exit.

    ``metrics.jsonl`` holds what the same seed gives again, to the last bit; clock readings go to ``timing.jsonl``.
    """

    def __init__(self, directory: Path, config: Common, command: str) -> None:
        self.directory, self.config, self.seed = directory, config, config.seed
        self.facts = manifest.facts(config, command)
        self.display: Display = display()
        self.totals = {"episodes": 0, "tokens": 0}
        self._spent: dict[str, float] = {}
        self._clock = self._training = 0.0

    def __enter__(self) -> "Run":
        """Take the directory.

        Raises:
            Failure: exit 6 if it belongs to another run, exit 5 if it cannot be written.
        """
        with ExitStack() as opened:
            try:
                self._open(opened)
            except (FileExistsError, BlockingIOError) as error:
                busy = "is in use by another process" if isinstance(error, BlockingIOError) else "holds a run already"
                told = f"{self.directory} {busy}\nchoose another directory with hydra.run.dir="
                raise Failure(Exit.RUN, told) from error
            except OSError as error:
                raise checkpoint.storage_failure("making the run directory", self.directory, error) from error
            self._files = opened.pop_all()
        self.say(f"run directory {self.directory}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write how it ended; the traceback of an error goes to train.log."""
        self.display.close()
        code = Exit.DONE if error is None else exit_code(error)
        status = {Exit.DONE: "done", Exit.INTERRUPT: "interrupted"}.get(code, "failed")
        try:
            if error is not None:
                self._text.write("".join(traceback.format_exception(kind, error, trace)))
            seconds = time.monotonic() - STARTED
            self._record(status=status, exit_code=int(code), seconds=seconds, training_seconds=self._training)
            self._files.close()
        except OSError as failed:
            if error is None:
                raise
            self.display.say(f"how the run ended could not be written down: {failed}")

    def _open(self, opened: ExitStack) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = opened.enter_context((self.directory / "lock").open("a"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with (self.directory / "run.json").open("x") as file:
            file.write(json.dumps(self.facts))
        (self.directory / "config.yaml").write_text(manifest.saved(self.config))
        self._metrics, self._timing, self._samples, self._text = (
            opened.enter_context((self.directory / name).open("a"))
            for name in ("metrics.jsonl", "timing.jsonl", "samples.jsonl", "train.log")
        )

    def rng(self, name: str, *index: int) -> np.random.Generator:
        """A fresh generator of the run's stream ``name``, such as ``rng("sampling", step)``."""
        return stream(self.seed, name, *index)

    def timed(self, phase: str, function: Callable[P, R]) -> Callable[P, R]:
        """``function`` with its seconds counted under ``phase`` of the step it is called in."""

        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            before = time.monotonic()
            try:
                return function(*args, **kwargs)
            finally:
                self._spent[phase] = self._spent.get(phase, 0.0) + time.monotonic() - before

        return counted

    def steps(self, total: int, parts: checkpoint.Parts) -> Iterator[int]:
        """1 to ``total``; after a step's body, ``parts`` are saved if a checkpoint is due, and always at the end."""
        self.display.begin(total)
        begun = self._clock = time.monotonic()
        self._spent.clear()
        for step in range(1, total + 1):
            yield step
            every = self.config.checkpoint.every
            if step == total or (every and step % every == 0):
                self._save(step, parts)
            self._training = time.monotonic() - begun
        self.display.close()

    def log(self, step: int, *, episodes: int, tokens: int, **values: float) -> None:
        """One line of metrics for ``step``; ``episodes`` and ``tokens`` are those of this step."""
        self.totals["episodes"] += episodes
        self.totals["tokens"] += tokens
        row = {"step": step, **{name: float(v) for name, v in values.items()}, "episodes": self.totals["episodes"]}
        seconds = time.monotonic() - self._clock
        timing = {"step": step, "seconds": seconds, "tokens_per_second": tokens / max(seconds, 1e-9), **self._spent}
        self._clock += seconds
        self._spent.clear()
        _line(self._metrics, row)
        _line(self._timing, timing)
        self.facts["steps"] = step
        self._text.write(self.display.step(step, row, timing) + "\n")

    def sample(self, step: int, rows: list[dict[str, Any]], show: int) -> None:
        """Keep responses in samples.jsonl; show the first of them."""
        for row in rows:
            _line(self._samples, {"step": step, **row})
        for row in rows[:show]:
            self.display.sample(row["prompt"], row["response"], row["score"])

    def due(self, every: int, step: int) -> bool:
        """True at step 1 and at each multiple of ``every``; never for 0."""
        return every > 0 and (step == 1 or step % every == 0)

    def say(self, text: str) -> None:
        """A line for the person and for train.log."""
        self.display.say(text)
        self._text.write(text + "\n")
        self._text.flush()

    def finish(self, **result: Any) -> None:
        """What the algorithm reached, for ``run.json``."""
        self._record(result=result)

    def computes_on(self, device: torch.device, threads: int) -> None:
        """Store what the last bits depend on."""
        self._record(fingerprint=manifest.fingerprint(threads, str(device)))

    def _save(self, step: int, parts: checkpoint.Parts) -> None:
        for file in (self._metrics, self._timing, self._samples):
            file.flush()
            os.fsync(file.fileno())
        place = self.directory / "metrics.jsonl"
        state = {"totals": self.totals, "metrics": manifest.digest(place), "settings": self.facts["settings_sha256"]}
        checkpoint.save(self.directory / "checkpoints", step, parts, state, self.config.checkpoint.keep)

    def _record(self, **values: Any) -> None:
        self.facts.update(values, **self.totals)
        staged = self.directory / f".run.json-{secrets.token_hex(4)}"
        staged.write_text(json.dumps(self.facts, allow_nan=False, indent=1) + "\n")
        staged.replace(self.directory / "run.json")


def _line(file: Any, row: Mapping[str, Any]) -> None:
    file.write(json.dumps(row, allow_nan=False) + "\n")
    file.flush()
