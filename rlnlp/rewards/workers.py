"""The user's functions in processes that live as long as the run; a batch is split between prompts only."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from rlnlp.errors import Exit, Failure
from rlnlp.rewards.arguments import Parameters
from rlnlp.rewards.call import Batch, Callee
from rlnlp.rewards.functions import UserFunction
from rlnlp.rewards.values import Values, reward_error


class RemoteTraceback(Exception):
    """Stands for an error in a worker: what its traceback was there."""


@dataclass(frozen=True)
class Failed:
    """What a worker answers instead of values."""

    code: Exit
    message: str
    traceback: str

    def error(self) -> Failure:
        """The same error here."""
        failure = Failure(self.code, self.message)
        failure.__cause__ = RemoteTraceback(f"\n{self.traceback}")
        return failure


@dataclass(frozen=True)
class Loaded:
    """What a worker answers when it has loaded the functions: of each, parameters and sha256."""

    functions: Mapping[str, tuple[Parameters, str]]


@dataclass(frozen=True)
class Setup:
    """What a worker begins with: the functions by term, where modules are, and how torch computes in the run itself."""

    paths: Mapping[str, str]
    path: Sequence[str]
    threads: int
    precision: str


@dataclass(frozen=True)
class Request:
    """A call of the function of the term ``name``."""

    name: str
    batch: Batch
    args: Mapping[str, Any]


class Workers:
    """Processes that have each loaded all functions."""

    def __init__(self, count: int, setup: Setup) -> None:
        self._setup = setup
        self._workers = [_start(setup.threads) for _ in range(count)]

    def load(self) -> dict[str, UserFunction]:
        """The functions by term, to be called in the workers.

        Raises:
            Failure: exit 2, if there is no such file or function; exit 7, if a file's own code fails.
        """
        name = next(iter(self._setup.paths))
        for _, connection in self._workers:
            _send(connection, self._setup, name)
        first = self._answers([(i, name) for i in range(len(self._workers))])[0]
        return {
            name: UserFunction(Callee(parameters, partial(self._call, name)), sha256)
            for name, (parameters, sha256) in first.functions.items()
        }

    def _call(self, name: str, batch: Batch, args: Mapping[str, Any]) -> Values:
        """The values of the whole batch, in order."""
        ends = cuts(batch.prompts, len(self._workers))
        parts = [batch.part(start, end) for start, end in zip([0, *ends], [*ends, len(batch.tokens)], strict=True)]
        asked = [(i, part) for i, part in enumerate(parts) if part.tokens]
        for i, part in asked:
            _send(self._workers[i][1], Request(name, part, args), name)
        found = self._answers([(i, name) for i, _ in asked])
        return [value for values in found for value in values]

    def _answers(self, asked: Sequence[tuple[int, str]]) -> list[Any]:
        """What the workers answer, in their order.

        Raises:
            Failure: the first error of one; exit 7 if one is gone.
        """
        waiting = {self._workers[i][1]: (i, name) for i, name in asked}
        found: dict[int, Any] = {}
        while waiting:
            for connection in wait(list(waiting)):
                assert isinstance(connection, Connection)
                i, name = waiting.pop(connection)
                try:
                    found[i] = connection.recv()
                except (EOFError, OSError) as error:
                    raise _gone(name, self._workers[i][0]) from error
        for answer in (found[i] for i, _ in asked):
            if isinstance(answer, Failed):
                raise answer.error()
        return [found[i] for i, _ in asked]

    def close(self) -> None:
        """End the processes, and what they have started."""
        for process, connection in self._workers:
            connection.close()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


@contextmanager
def workers(count: int, setup: Setup) -> Iterator[Workers]:
    """``count`` processes, ended with the block; what ends this process in any way ends them too."""
    pool = Workers(count, setup)
    try:
        yield pool
    finally:
        pool.close()


def cuts(prompts: Sequence[int], parts: int) -> list[int]:
    """Where to cut responses to ``prompts`` into ``parts``, as even as can be: only where another prompt begins."""
    allowed = [i for i in range(1, len(prompts)) if prompts[i] != prompts[i - 1]]
    found, least = [], 0
    for k in range(1, parts):
        wanted = k * len(prompts) / parts
        least = min([i for i in allowed if i >= least], key=lambda i: abs(i - wanted), default=len(prompts))
        found.append(least)
    return found


def _start(threads: int) -> tuple[subprocess.Popen[bytes], Connection]:
    """A process in a session of its own, so that what it starts can be ended with it; its input ends with this one."""
    here, there = Pipe()
    words = [sys.executable, "-P", "-m", "rlnlp.rewards.worker", str(there.fileno())]
    package = str(Path(__file__).resolve().parent.parent.parent)
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": path}
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, pass_fds=[there.fileno()], env=environment, start_new_session=True
    )
    there.close()
    return process, here


def _send(connection: Connection, message: Any, name: str) -> None:
    try:
        connection.send(message)
    except (BrokenPipeError, ConnectionResetError):
        return  # the answer will not come, and that is told
    except Exception as error:  # pickle raises whatever a value in args or in a column raises
        raise reward_error(name, f"cannot be given its data in another process: {error}") from error


def _gone(name: str, process: subprocess.Popen[bytes]) -> Failure:
    """The error for a process that has ended by itself."""
    status = process.wait()
    how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    more = ": memory may have run out" if status == -signal.SIGKILL else ""
    what = f"reward term '{name}': its process ended ({how}{more})"
    return Failure(Exit.REWARD, f"{what}\nfix the function (reward.terms.{name}.fn), or set reward.workers=0")
