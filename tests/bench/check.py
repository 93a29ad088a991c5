"""What ``rlnlp check`` says of time and memory, beside what a run of the same settings takes.

``python tests/bench/check.py [MODEL [STEPS]]``: the embedded model with every algorithm, 10 steps; or the model in a
directory. Check and run are taken in turn, and of each figure the least counts: a busy machine only makes it larger, so
that this is for a quiet one. A figure is right within 25 %.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS, ROUNDS = 10, 4
WITHIN = 0.25
ALGORITHMS = ("ppo", "reinforce", "sft")


def rlnlp(*words: str, cwd: Path) -> str:
    """What the command prints."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "rlnlp", *words], cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def figures(words: list[str], cwd: Path, number: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of a step, and the most bytes of memory: as the check says, and as the run was."""
    said = json.loads(rlnlp("check", *words, "--json", cwd=cwd))
    rlnlp("train", *words, f"hydra.run.dir=run-{number}", cwd=cwd)
    run = cwd / f"run-{number}"
    seconds = [json.loads(line)["seconds"] for line in (run / "timing.jsonl").read_text().splitlines()]
    facts = json.loads((run / "run.json").read_text())
    memory = facts["peak_memory_bytes"]
    real = {"seconds of a step": statistics.median(seconds), "memory": memory.get("cuda", memory["process"])}
    return {"seconds of a step": said["step_seconds"], "memory": said["memory_bytes"]}, real


def main() -> None:
    """Print the ratio of what was said to what was."""
    model, steps = sys.argv[1] if len(sys.argv) > 1 else None, int(sys.argv[2]) if len(sys.argv) > 2 else STEPS
    more = [f"algo.total_steps={steps}", "heldout.size=16", "heldout.every=0", "device=cpu"]  # no step that measures
    more += [] if model is None else [f"model.path={Path(model).resolve()}", "algo.batch_size=8"]
    for algo in ALGORITHMS if model is None else ALGORITHMS[:1]:
        least: dict[str, tuple[float, float]] = {}
        with tempfile.TemporaryDirectory() as folder:
            for number in range(ROUNDS if model is None else ROUNDS // 2):
                said, real = figures([f"algo={algo}", *more], Path(folder), number)
                for name, value in said.items():
                    before = least.get(name, (value, real[name]))
                    least[name] = min(before[0], value), min(before[1], real[name])
                    print(f"  {algo:10s} {name:18s} said {value:.4g}, was {real[name]:.4g}", flush=True)
        for name, (one, other) in least.items():
            ratio = one / other
            print(f"{algo:10s} {name:18s} x {ratio:.2f}{'' if abs(ratio - 1) <= WITHIN else '  OUT OF BOUNDS'}")


if __name__ == "__main__":
    main()
