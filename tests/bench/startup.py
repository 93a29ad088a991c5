"""How long the command takes to answer, in multiples of a bare interpreter: ``python tests/bench/startup.py``."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "rlnlp --help": ["-m", "rlnlp", "--help"],
    "rlnlp trian (no such command)": ["-m", "rlnlp", "trian"],
    "rlnlp train with wrong settings": ["-m", "rlnlp", "train", "algo.learning_rte=1", "seed=-1"],
    "rlnlp train with a wrong choice": ["-m", "rlnlp", "train", "algo=pppo"],
    "rlnlp train --cfg job": ["-m", "rlnlp", "train", "--cfg", "job"],
}
ROUNDS = 7


def seconds(arguments: list[str]) -> float:
    """Wall seconds of one process."""
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], capture_output=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    return time.perf_counter() - begun


def main() -> None:
    """Take the commands in turn, so that a busy machine slows all alike; print medians."""
    rounds = [{name: seconds(arguments) for name, arguments in COMMANDS.items()} for _ in range(ROUNDS)]
    bare = statistics.median(r["python -c pass"] for r in rounds)
    for name in COMMANDS:
        middle = statistics.median(r[name] for r in rounds)
        print(f"{name:34s} {middle:.3f} s, {middle - bare:+.3f} s beyond a bare interpreter, {middle / bare:.1f} x")


if __name__ == "__main__":
    main()
