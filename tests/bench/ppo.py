"""PPO of TRL 1.9 and ours on workloads S and T, four separate models on both sides.

``python tests/bench/ppo.py --peer-python PYTHON --workload T``. One minibatch and four epochs per rollout, learning
rate 3e-6; every process trains alone on the machine. The base is TRL's fastest sound configuration.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import side_by_side as bench
from workload import WORKLOADS

NEEDED, NEEDED_SHARED, NEEDED_ADAPTERS, BEGINS = 1.5, 3.0, 2.2, 5.0
ADAPTERS = ["model.lora.rank=16", "algo.critic=adapter"]
ADAPTER = ["model.lora.rank=16", "algo.critic=shared"]


def tools(a: argparse.Namespace) -> dict[str, bench.Tool]:
    """TRL's configurations and ours, by name."""
    own = {
        "float32": ["algo.critic=separate", f"algo.critic_path={bench.folder(a) / 'reward'}"],
        "bfloat16": ["algo.critic=separate", f"algo.critic_path={bench.folder(a) / 'reward'}", "device.dtype=bfloat16"],
        "adapters": ADAPTERS,
        "adapters-bfloat16": [*ADAPTERS, "device.dtype=bfloat16"],
        "adapter": ADAPTER,
        "adapter-bfloat16": [*ADAPTER, "device.dtype=bfloat16"],
        "shared": ["algo.critic=shared"],
        "shared-bfloat16": ["algo.critic=shared", "device.dtype=bfloat16"],
    }
    every = {
        "trl-plain": bench.peer(a, "ppo", "sdpa", "highest"),
        "trl-tuned": bench.peer(a, "ppo", "eager", "medium"),
        "trl-bf16": bench.peer(a, "ppo", "eager", "medium", "--bf16"),
        **{name: bench.ours(a, *settings(a), *more) for name, more in own.items()},
    }
    chosen = a.only.split(",") if a.only else list(every)
    return {name: every[name] for name in chosen}


def settings(a: argparse.Namespace) -> list[str]:
    """The same work as TRL's."""
    place, batch = bench.folder(a), WORKLOADS[a.workload].batch
    judge = f"{{path: {place / 'reward'}, of: both, batch_size: {batch}}}"
    return [
        "algo=ppo", f"model.path={place / 'policy'}", f"data.prompts={place / 'prompts.jsonl'}", "heldout.size=1",
        "~reward.terms", f"+reward.terms={{rm: {{fn: classifier, args: {judge}}}}}", f"algo.batch_size={batch}",
        f"algo.mini_batch_size={batch}", f"algo.micro_batch_size={batch}", "algo.ppo_epochs=4",
        "algo.learning_rate=3e-6", "algo.critic_learning_rate=3e-6", "algo.kl_coef=0.05",
        f"sampler.max_new_tokens={WORKLOADS[a.workload].new}",
    ]  # fmt: skip


def begun(threads: int) -> float:
    """Seconds from the command to the first training step, on the embedded model with the settings as they are."""
    with tempfile.TemporaryDirectory() as place:
        words = ["train", "algo=ppo", "algo.total_steps=1", f"device.threads={threads}", f"hydra.run.dir={place}/run"]
        started = time.time()
        subprocess.run([sys.executable, "-m", "rlnlp", *words], cwd=bench.ROOT, capture_output=True, check=True)
        logged = (Path(place) / "run" / "timing.jsonl").stat().st_mtime  # the line is written as the step ends
        took = json.loads((Path(place) / "run" / "timing.jsonl").read_text())["seconds"]
    return logged - took - started


def main() -> None:
    """Measure, and tell each ratio with what is asked of it."""
    a = bench.options(__doc__).parse_args()
    print(f"workload {a.workload}, {a.threads} threads, {a.rounds} rounds of {a.steps} steps")
    found = bench.alternated(tools(a), a.rounds)
    plain, half = bench.floors(a, "float32"), bench.floors(a, "bfloat16")
    floors = {
        "trl-plain": plain["ppo"], "trl-tuned": plain["ppo"], "float32": plain["ppo"], "shared": plain["shared"],
        "trl-bf16": half["ppo"], "bfloat16": half["ppo"], "shared-bfloat16": half["shared"],
        "adapters": plain["ppo"], "adapters-bfloat16": half["ppo"],
        "adapter": plain["shared"], "adapter-bfloat16": half["shared"],
    }  # fmt: skip
    bench.table(found, WORKLOADS[a.workload].batch, floors)
    print("\nfour models on both sides:")
    bench.verdict(found, "float32", ["trl-plain", "trl-tuned"], NEEDED)
    bench.verdict(found, "bfloat16", ["trl-bf16"], NEEDED)
    print("two adapters on one base, and no second copy of it, against four models:")
    bench.verdict(found, "adapters", ["trl-plain", "trl-tuned"], NEEDED_ADAPTERS)
    bench.verdict(found, "adapters-bfloat16", ["trl-plain", "trl-tuned", "trl-bf16"], NEEDED_ADAPTERS)
    print("one adapter on one base, with a value head, against four models:")
    bench.verdict(found, "adapter", ["trl-plain", "trl-tuned"], NEEDED_ADAPTERS)
    bench.verdict(found, "adapter-bfloat16", ["trl-plain", "trl-tuned", "trl-bf16"], NEEDED_ADAPTERS)
    print("another algorithm, policy and critic on one trunk, against four models:")
    bench.verdict(found, "shared", ["trl-plain", "trl-tuned"], NEEDED_SHARED)
    bench.verdict(found, "shared-bfloat16", ["trl-plain", "trl-tuned", "trl-bf16"], NEEDED_SHARED)
    first = statistics.median(begun(a.threads) for _ in range(a.rounds))
    print(f"the first step on the embedded model begins {first:.1f} s after the command (at most {BEGINS})")


if __name__ == "__main__":
    main()
