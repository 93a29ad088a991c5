"""How time and memory of a step grow with the length of responses, with the group and with the batch: the exponents.

``python tests/bench/growth.py [never|auto]``: each measurement is a process of its own with one thread, whose seconds
are of the processor; its memory is the peak above what it held before. An exponent is the slope of a line through the
logarithms: 1 is in proportion. The model is a Llama of 1.6 million random weights. ``never`` is
``device.share_prompts=never``: plain attention, a prompt for each response.
"""

import json
import math
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parent.parent.parent
PROMPT, TIMES = 16, 3


@dataclass(frozen=True)
class Case:
    """A step of ``prompts`` with ``group`` responses of ``length`` tokens to each."""

    length: int = 64
    group: int = 4
    prompts: int = 4


LENGTHS = [Case(length, group=1, prompts=8) for length in (32, 64, 128, 256, 512)]
GROUPS = [Case(group=group) for group in (1, 2, 4, 8, 16)]
BATCHES = [Case(prompts=prompts) for prompts in (2, 4, 8, 16, 32)]


def measured(case: Case, share: str) -> dict[str, float]:
    """The figures of a case, from a process of its own."""
    words = [sys.executable, __file__, "--case", json.dumps(vars(case)), share]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def step(case: Case, share: str) -> dict[str, float]:
    """Least processor seconds of sampling and of learning, and the MB that each of them takes at most."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from rlnlp.batching import left_padded
    from rlnlp.config.model import Device
    from rlnlp.device import compute_device
    from rlnlp.maths.distribution import Distribution
    from rlnlp.models.policy import Policy
    from rlnlp.rollout.sampling import sample

    device = compute_device(Device("cpu", 1, "auto", "none", "float32"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512, hidden_size=160, intermediate_size=448, num_hidden_layers=5, num_attention_heads=5,
        max_position_embeddings=1024, attn_implementation="eager",
    )  # fmt: skip
    policy = Policy(LlamaForCausalLM(config))
    policy.share_prompts(share)
    ids = torch.randint(3, 512, (case.prompts, PROMPT)).tolist()
    prompts = left_padded(ids, range(case.prompts), 0, device).repeat(case.group)
    drawn = Distribution(1.0, 0, 1.0, case.length, (2,))
    uniforms = torch.rand(len(prompts.rows), case.length, dtype=torch.float64)
    found = {}
    start = rollout = None
    for name in ("sampling", "learning"):
        seconds = []
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(TIMES):
            begun = time.process_time()
            if name == "sampling":
                rollout = sample(policy, prompts, uniforms, drawn, pad=0)
            else:
                policy(rollout, drawn.unfiltered()).logprobs.sum().backward()
                policy.zero_grad(set_to_none=True)
            seconds.append(time.process_time() - begun)
        found[f"{name}, s"] = min(seconds)
        found[f"{name}, MB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) / 1024
    return found


def exponent(sizes: list[float], values: list[float]) -> float:
    """The slope of the line through the logarithms."""
    x, y = ([math.log(max(v, 1e-9)) for v in each] for each in (sizes, values))
    dx = [v - mean(x) for v in x]
    return sum(d * (v - mean(y)) for d, v in zip(dx, y, strict=True)) / sum(d * d for d in dx)


def main() -> None:
    """Print each figure and its exponent, over all sizes and over the largest three."""
    share = sys.argv[1] if len(sys.argv) > 1 else "auto"
    for what, cases in (("length", LENGTHS), ("group", GROUPS), ("prompts", BATCHES)):
        figures = [measured(case, share) for case in cases]
        sizes = [float(vars(case)[what]) for case in cases]
        print(f"by {what}: {', '.join(f'{size:.0f}' for size in sizes)}")
        for name in figures[0]:
            values = [each[name] for each in figures]
            fitted, last = exponent(sizes, values), exponent(sizes[-3:], values[-3:])
            row = "  ".join(f"{value:8.3g}" for value in values)
            print(f"  {name:12s} {row}   exponent {fitted:.2f}, of the last three {last:.2f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--case"]:
        print(json.dumps(step(replace(Case(), **json.loads(sys.argv[2])), sys.argv[3])))
    else:
        main()
