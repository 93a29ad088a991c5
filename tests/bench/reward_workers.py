"""How much faster a reward function of 20 ms a response is with ``reward.workers=2``: prints the ratio.

To run: ``python tests/bench/reward_workers.py``. The function waits, as for an answer from elsewhere; with
``--busy`` it computes: then the ratio needs two free cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
REWARD = """
import time

def waits(completions):
    for _ in completions:
        time.sleep(0.02)
    return [len(set(text.split())) / 10 for text in completions]

def computes(completions):
    for _ in completions:
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
    return [len(set(text.split())) / 10 for text in completions]
"""


def main() -> None:
    """Train twice, compare the bytes, print seconds of the function in a step and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", action="store_true", help="the function computes")
    parser.add_argument("--steps", type=int, default=6)
    args = parser.parse_args()
    function = "computes" if args.busy else "waits"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "slow_reward.py").write_text(REWARD)
        runs = {count: train(Path(folder), function, count, args.steps) for count in (0, 2)}
        files = ("metrics.jsonl", "samples.jsonl", "policy/model.safetensors")
        same = all((runs[0] / name).read_bytes() == (runs[2] / name).read_bytes() for name in files)
        seconds = {count: reward_seconds(run) for count, run in runs.items()}
    print(json.dumps({"seconds": seconds, "ratio": round(seconds[0] / seconds[2], 2), "bit_identical": same}))


def train(folder: Path, function: str, count: int, steps: int) -> Path:
    """A run with ``count`` workers."""
    words = [
        "reinforce", "~reward.terms", f"+reward.terms={{slow: {{fn: slow_reward.py:{function}}}}}",
        f"reward.workers={count}",
        "algo.batch_size=16", "algo.num_generations=4", f"algo.total_steps={steps}", "heldout.size=0", "samples.show=0",
        "sampler.max_new_tokens=12", f"hydra.run.dir=run-{count}",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "rlnlp", *words], cwd=folder, check=True, capture_output=True, env=environment
    )
    return folder / f"run-{count}"


def reward_seconds(run: Path) -> float:
    """Median seconds of the function in a step."""
    rows = [json.loads(line)["reward/slow"] for line in (run / "timing.jsonl").read_text().splitlines()]
    return round(sorted(rows)[len(rows) // 2], 4)


if __name__ == "__main__":
    main()
