"""PPO-ptx on the embedded model: does mixing in texts keep them likely, and what does it cost in win rate?

``python tests/bench/ptx.py --runs DIR [--coefs 0,1] [--seeds 6]``. Each run is one round of RLHF with a simulated
annotator; runs of one seed have the same judgements and the same reward model, and differ in ``ptx_coef`` alone, so
that differences are paired by seed. Runs that are complete in DIR are not made again. Intervals are Student's t over
seeds, 95 %. About a minute of one core a run.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import torch

from rlnlp.maths.statistics import mean_interval

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS = [
    "algo.rounds=1", "algo.reward_model.total_steps=80", "algo.policy.total_steps=16", "algo.policy.batch_size=32",
    "algo.policy.critic=shared", "algo.policy.learning_rate=1e-3", "data.texts=embedded/2000", "heldout.size=64",
    "annotator.ratings_per_round=0", "samples.every=0", "checkpoint.every=0", "device=cpu", "device.threads=1",
]  # fmt: skip
Figures = dict[str, float]


def main() -> None:
    """Make the runs that are missing, and tell what the texts did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--coefs", default="0,1", help="the first is what the others are compared with")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("more", nargs="*", help="further settings, such as algo.policy.kl_coef=0")
    a = parser.parse_args()
    coefs = a.coefs.split(",")
    found: dict[str, list[Figures]] = {coef: [] for coef in coefs}
    for seed in range(a.seeds):
        for coef in coefs:
            found[coef].append(figures(finished(a.runs / f"ptx-{coef}-{seed}", coef, seed, a.more)))
            print(f"seed {seed}, ptx_coef {coef}: {told(found[coef][-1])}", flush=True)
    print()
    for line in table(found):
        print(line)
    print()
    for coef in coefs[1:]:
        for line in differences(coef, coefs[0], found):
            print(line)


def finished(place: Path, coef: str, seed: int, more: list[str]) -> Path:
    """The directory of a run, made if it is not there."""
    if not (place / "run.json").is_file() or json.loads((place / "run.json").read_text())["status"] != "done":
        words = [*SETTINGS, f"algo.policy.ptx_coef={coef}", f"seed={seed}", f"hydra.run.dir={place}", *more]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-m", "rlnlp", "rlhf", *words], env=env, check=True, capture_output=True)
    return place


def figures(place: Path) -> Figures:
    """What a run is compared by: its final policy against the first one."""
    last = json.loads((place / "run.json").read_text())["result"]["history"][-1]
    return {
        "win rate, %": 100 * last["win_rate"]["against first"]["decided"]["value"],
        "gold reward": last["gold"][0],
        "KL, nats": last["kl"][0],
        "log perplexity": math.log(last["perplexity"]["now"]),
        "perplexity ratio": last["perplexity"]["ratio"][0],
    }


def told(found: Figures) -> str:
    """Figures in a line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in found.items())


def table(found: dict[str, list[Figures]]) -> list[str]:
    """Means over seeds with intervals, a row for each coefficient."""
    names = [name for name in next(iter(found.values()))[0] if name != "log perplexity"]
    rows = ["| ptx_coef | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for coef, runs in found.items():
        cells = [interval([run[name] for run in runs]) for name in names]
        rows.append(f"| {coef} | " + " | ".join(cells) + " |")
    return rows


def interval(values: list[float]) -> str:
    """Mean and ends."""
    mean, low, high = mean_interval(torch.tensor(values))
    return f"{mean:.4g} [{low:.4g}, {high:.4g}]"


def differences(coef: str, base: str, found: dict[str, list[Figures]]) -> list[str]:
    """How a coefficient differs from the first one, seed by seed."""
    pairs = list(zip(found[coef], found[base], strict=True))
    rate = [one["win rate, %"] - other["win rate, %"] for one, other in pairs]
    ratio = [one["log perplexity"] - other["log perplexity"] for one, other in pairs]
    mean, low, high = (math.exp(x) for x in mean_interval(torch.tensor(ratio)))
    lower = "lower" if high < 1 else "higher" if low > 1 else "not shown to differ"
    _, worst, best = mean_interval(torch.tensor(rate))
    same = "no difference in win rate shown" if worst <= 0 <= best else "another win rate"
    return [
        f"ptx_coef {coef} against {base}, {len(pairs)} seeds: win rate {interval(rate)} points ({same});"
        f" perplexity times {mean:.4f} [{low:.4f}, {high:.4f}] ({lower})"
    ]


if __name__ == "__main__":
    main()
