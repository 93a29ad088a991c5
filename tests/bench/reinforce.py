"""RLOO of TRL (1.16 is the newest) and our REINFORCE with a leave-one-out baseline on workloads S, T, L and R.

``python tests/bench/reinforce.py --peer-python PYTHON --workload T``. One update per rollout, learning rate 3e-6; every
process trains alone on the machine. The base is TRL's fastest sound configuration.
"""

import argparse

import side_by_side as bench
from workload import WORKLOADS

NEEDED = {"S": 1.4, "T": 2.5, "L": 3.5, "R": 1.8}


def tools(a: argparse.Namespace) -> dict[str, bench.Tool]:
    """TRL's configurations and ours, by name."""
    every = {
        "trl-plain": bench.peer(a, "rloo", "sdpa", "highest"),
        "trl-tuned": bench.peer(a, "rloo", "eager", "medium"),
        "trl-bf16": bench.peer(a, "rloo", "eager", "medium", "--bf16"),
        "float32": bench.ours(a, *settings(a)),
        "bfloat16": bench.ours(a, *settings(a), "device.dtype=bfloat16"),
        "apart": bench.ours(a, *settings(a), "device.share_prompts=never"),
        "in-16s": bench.ours(a, *settings(a, 16)),
    }
    return {name: every[name] for name in (a.only.split(",") if a.only else every)}


def settings(a: argparse.Namespace, together: int | None = None) -> list[str]:
    """The same work as TRL's; ``together`` responses at once, or all."""
    place, work = bench.folder(a), WORKLOADS[a.workload]
    return [
        "algo=reinforce", "algo.baseline=leave-one-out", f"algo.num_generations={work.group}",
        f"algo.batch_size={work.batch // work.group}", f"algo.micro_batch_size={together or work.batch}",
        f"model.path={place / 'policy'}", f"data.prompts={place / 'prompts.jsonl'}", "heldout.size=1",
        "~reward.terms", f"+reward.terms={{words: {{fn: '{bench.HERE / 'workload.py'}:distinct_words'}}}}",
        "algo.learning_rate=3e-6", "algo.kl_coef=0.05", f"sampler.max_new_tokens={work.new}",
    ]  # fmt: skip


def main() -> None:
    """Measure, and tell each ratio with what is asked of it."""
    a = bench.options(__doc__).parse_args()
    print(f"workload {a.workload}, {a.threads} threads, {a.rounds} rounds of {a.steps} steps")
    found = bench.alternated(tools(a), a.rounds)
    plain, half = (bench.floors(a, dtype)["reinforce"] for dtype in ("float32", "bfloat16"))
    floors = {"trl-plain": plain, "trl-tuned": plain, "apart": plain, "trl-bf16": half}
    if a.workload not in ("L", "R"):  # a floor is of prompts that are not shared
        floors |= {"float32": plain, "bfloat16": half}
    bench.table(found, WORKLOADS[a.workload].batch, floors)
    bench.verdict(found, "float32", ["trl-plain", "trl-tuned"], NEEDED[a.workload])
    bench.verdict(found, "bfloat16", ["trl-bf16"], NEEDED[a.workload])
    bench.verdict(found, "float32", ["apart"], 1.0)
    bench.verdict(found, "in-16s", ["trl-plain", "trl-tuned"], NEEDED[a.workload])


if __name__ == "__main__":
    main()
