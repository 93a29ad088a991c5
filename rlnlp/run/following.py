"""A run of several processes as all but the first see it: the same steps, but nothing is written and nothing shown."""

import os
import signal
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch

from rlnlp import STARTED
from rlnlp.config.schema import Trained
from rlnlp.errors import Failure, command
from rlnlp.processes.group import explained, follower, joined, leader
from rlnlp.processes.launch import again
from rlnlp.run import manifest
from rlnlp.run.checkpoint import checkpoints, step_of
from rlnlp.run.display import PlainDisplay
from rlnlp.run.handlers import handled
from rlnlp.run.jsonl import JsonlFile
from rlnlp.run.manifest import ResumeInfo
from rlnlp.run.parts import Parts, tensor_files
from rlnlp.run.progress import Progress
from rlnlp.run.run import Run


@contextmanager
def running(
    directory: Path, config: Trained, command: str, resume_info: ResumeInfo | None = None,
    hidden: Collection[str] = (), started: float = STARTED,
) -> Iterator[Run]:  # fmt: skip
    """The run in ``directory``, together with the other processes of it, if there are any.

    Raises:
        Failure: as ``Run``, or as ``joined``.
    """
    where = config.device
    cuda = where.name == "cuda" or (where.name == "auto" and torch.cuda.is_available())
    with joined(directory, where.parallel != "none", cuda, f"rlnlp {command}") as agreed:
        kind = Run if follower() is None else Following
        with kind(agreed, config, command, resume_info, hidden, started) as run:
            if (end := leader()) is not None:
                end.attach(lambda: run.signals.interrupt(end.take), run.signals.relay, run.abandon)
            try:
                yield run
            except RuntimeError as error:  # of a pass with weights in parts, where another process is gone
                if (reason := explained(error)) is error:
                    raise
                raise reason from error


class Following(Run):
    """The run in a process that is not the first. Signals go to the first, which decides when all of them stop."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End in silence.

        Raises:
            BaseException: what ended the run here, with advice that the first process does not add to it.
        """
        shown = error if error is None or isinstance(error, Failure) else self._with_advice(error)
        self._files.close()
        if shown is not None and shown is not error:
            raise shown from error

    def _open(self, opened: ExitStack) -> None:
        nowhere = opened.enter_context(open(os.devnull, "w"))  # noqa: SIM115
        self.display, self._log = PlainDisplay(nowhere), nowhere
        self._told = False  # the first process, of a signal
        opened.enter_context(handled(self._signaled))
        self.progress = FollowingProgress(self.directory, self.config.checkpoint.keep)
        opened.callback(self.progress.close)
        if self.resume_info is not None:
            self.facts |= {"fingerprint": {}, "model_check": manifest.read_facts(self.directory).get("model_check")}
        if (end := follower()) is not None:
            end.advice = self._advice

    def _begin_record(self, done: int) -> None:
        """Nothing."""

    def sample(self, step: int, rows: list[dict[str, Any]], show: int) -> None:
        """Nothing."""

    def _signaled(self, number: int, _: FrameType | None) -> None:
        if (end := follower()) is not None and not self._told:
            self._told = True
            end.signaled(number)
        elif number == signal.SIGINT:
            os._exit(128 + number)

    def _advice(self) -> str:
        found, here = checkpoints(self.progress.folder), Path.cwd()
        directory = self.directory.relative_to(here) if self.directory.is_relative_to(here) else self.directory
        saved = f"step {step_of(found[-1])} is saved" if found else "no step is saved yet"
        return f"{saved}\ncontinue with: {again(command('resume', directory))}"


class FollowingProgress(Progress):
    """How far the run has come, counted as the first process counts it, and restored from the same checkpoints."""

    def _opened(self, directory: Path) -> dict[str, JsonlFile]:
        self._own = tempfile.TemporaryDirectory()
        return super()._opened(Path(self._own.name))

    def save(self, parts: Parts) -> None:
        """Leave it to the first process."""
        self._check_finite(parts)
        tensor_files(parts)  # of weights in parts, the first process needs this one's
        self.saved = self.done

    def save_last_step(self) -> None:
        """Leave it to the first process."""

    def close(self) -> None:
        """Remove what only this process needs."""
        super().close()
        self._own.cleanup()

    def _compare(self, *_: Any) -> None:
        """The first process compares."""

    def _save_model(self, parts: Parts) -> None:
        self._check_finite(parts)
        tensor_files(self._kept(parts))

    def settle_models(self, best: tuple[int, float] | None) -> None:
        """The first process removes those that are not kept."""
        self.best = {} if best is None else {"step": best[0], "value": best[1]}
        self.keep_models = self._models_asked

    def _retain(self) -> None:
        """The first process removes."""

    def _remove_later(self) -> None:
        """The first process removes."""
