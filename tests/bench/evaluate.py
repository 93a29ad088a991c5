"""Seconds that ``rlnlp evaluate`` of a run takes, start-up and report included, beside those that its training took.

To run: ``python tests/bench/evaluate.py [RUN]``. The default run must stay below 30 seconds on two cores; the ratio to
the training of the same run is printed beside it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", help="a finished run; the default run is trained if none is given")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = args.run or f"{scratch}/run"
        if args.run is None:
            subprocess.run(
                [sys.executable, "-m", "rlnlp", "train", f"hydra.run.dir={directory}"],
                check=True,
                stdout=subprocess.DEVNULL,
            )
        facts = json.loads((Path(directory) / "run.json").read_text())
        seconds = []
        for _ in range(args.runs):
            begun = time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "rlnlp", "evaluate", directory], check=True, stdout=subprocess.DEVNULL
            )
            seconds.append(time.monotonic() - begun)
    middle = statistics.median(seconds)
    print(f"evaluate: median {middle:.1f} s of {[round(each, 1) for each in seconds]}, limit 30 s")
    print(f"ratio to the run's training of {facts['training_seconds']:.0f} s: {middle / facts['training_seconds']:.2f}")


if __name__ == "__main__":
    main()
