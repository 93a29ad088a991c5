"""The command in a process that is forked with everything imported: the real one without the seconds of its start.

What depends on the start of Python itself (its options, what is imported, how streams end) needs ``small.rlnlp``.
"""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

from support.small import ROOT

IMPORTED = [  # in this order
    "torch", "transformers.models.llama.modeling_llama", "transformers.tokenization_utils_tokenizers",
    "safetensors.torch", "hydra", "omegaconf", "matplotlib.figure", "matplotlib.backends.backend_agg", "scipy.stats",
    "torch.optim", "torch._dynamo", "support.runs", "rlnlp.algos.sft", "rlnlp.algos.reinforce", "rlnlp.algos.ppo",
    "rlnlp.algos.rlhf", "rlnlp.feedback.simulated", "rlnlp.feedback.from_file", "rlnlp.feedback.terminal.collect",
    "rlnlp.run.run", "rlnlp.cli.hydra_app", "rlnlp.cli.resume", "rlnlp.commands.check", "rlnlp.commands.compare",
    "rlnlp.commands.evaluate", "rlnlp.commands.generate", "rlnlp.commands.runs", "rlnlp.commands.check_reward",
    "rlnlp.commands.explain.main", "rlnlp.commands.guide", "support.warm",
]  # fmt: skip
OFFLINE = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def server():
    """Where processes are forked from: one in each process of tests, whoever asks first."""
    from multiprocessing import forkserver

    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload(IMPORTED)
    with mock.patch.dict(os.environ, {**OFFLINE, "PYTHONPATH": os.pathsep.join(sys.path)}):  # for Python before 3.13
        forkserver.ensure_running()
    return fork


def answer(words: list[str], cwd: str, env: dict[str, str], streams: tuple[str, str, str]) -> None:
    """What the process does: its streams, its place and its environment are those of the command; then that."""
    reading, *writing = (os.open(path, os.O_RDWR | os.O_CREAT) for path in streams)
    for number, descriptor in enumerate((reading, *writing)):
        os.dup2(descriptor, number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = [cwd, *env["PYTHONPATH"].split(os.pathsep)]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.argv = ["rlnlp", *words]
    from rlnlp.cli.main import main

    raise SystemExit(main())


class Started:
    """The command in a forked process, with files as its streams; used as a process of ``subprocess``."""

    def __init__(self, words, cwd: Path, streams: tuple[Path | str, ...], env: dict[str, str] | None = None) -> None:
        whole = {**os.environ, **OFFLINE, "PYTHONPATH": str(ROOT), **(env or {})}
        self.child = server().Process(
            target=answer, args=([*map(str, words)], str(cwd), whole, tuple(map(str, streams)))
        )
        self.child.start()

    @property
    def pid(self) -> int:
        return self.child.pid

    def poll(self) -> int | None:
        return self.child.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self.child.join(timeout)
        return self.child.exitcode

    def kill(self) -> None:
        self.child.kill()

    def send_signal(self, number: int) -> None:
        os.kill(self.child.pid, number)


def rlnlp(*words, cwd: Path, stdin: str = "", env: dict[str, str] | None = None, timeout: float = 120):
    """As ``small.rlnlp``: (exit status, stdout, stderr)."""
    whole = {**os.environ, **OFFLINE, "PYTHONPATH": str(ROOT), **(env or {})}
    with tempfile.TemporaryDirectory() as place:
        streams = tuple(Path(place) / name for name in ("in", "out", "err"))
        streams[0].write_text(stdin)
        child = server().Process(target=answer, args=([*map(str, words)], str(cwd), whole, tuple(map(str, streams))))
        child.start()
        child.join(timeout)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise TimeoutError(f"rlnlp {' '.join(map(str, words))}: not done in {timeout} seconds")
        return child.exitcode, streams[1].read_text(), streams[2].read_text()
