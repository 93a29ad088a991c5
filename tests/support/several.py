"""Runs of several real processes, started by torchrun or by hand."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from support.small import ROOT


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **more}


def torchrun(*words, cwd: Path, timeout: float = 300) -> tuple[int, str, str]:
    """``rlnlp`` in two processes that torchrun starts: (exit status, stdout, stderr)."""
    begin = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "rlnlp"]
    done = subprocess.run(
        [*begin, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False,
        env=environment(),
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def by_hand(*words, cwd: Path) -> list["subprocess.Popen[str]"]:
    """``rlnlp`` in two processes that know of each other by their environment alone, in the order of their ranks."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return [
        subprocess.Popen(
            [sys.executable, "-m", "rlnlp", *map(str, words)], cwd=cwd, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            env=environment(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)),
        )
        for rank in range(2)
    ]  # fmt: skip


def steps_done(directory: Path, steps: int, processes: list["subprocess.Popen[str]"], timeout: float = 240) -> None:
    """Wait until a run has done so many steps."""
    until, path = time.monotonic() + timeout, directory / "metrics.jsonl"
    while not (path.exists() and len(path.read_text().splitlines()) >= steps):
        assert time.monotonic() < until, "the run takes too long"
        assert all(process.poll() is None for process in processes), [p.communicate() for p in processes]
        time.sleep(0.05)
