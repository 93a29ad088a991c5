"""The memory that ``rlnlp check`` tells, beside the most that a run of the same settings holds.

``python tests/bench/memory.py MODEL [CASE...]``: the embedded model and the one in a directory, two steps of each case.
A figure is right within 25 %. It does not depend on how busy the machine is.
"""

import json
import sys
import tempfile
from pathlib import Path

from check import WITHIN, rlnlp

SMALL = ["algo.total_steps=2", "heldout.size=8", "heldout.every=0", "device=cpu"]
LARGE = [*SMALL, "algo.batch_size=8", "heldout.size=4", "sampler.max_new_tokens=24", "checkpoint.every=2"]
CASES = {
    "embedded ppo": ["algo=ppo"],
    "embedded reinforce": ["algo=reinforce"],
    "embedded sft": ["algo=sft"],
    "embedded reinforce tokens": ["algo=reinforce", "algo.micro_batch_tokens=200", "sampler.max_new_tokens=90"],
}
CASES_OF_MODEL = {
    "reinforce": ["algo=reinforce", "algo.num_generations=2", "algo.batch_size=4"],
    "ppo shared": ["algo=ppo", "algo.critic=shared"],
    "ppo separate": ["algo=ppo", "algo.critic=separate"],
    "ppo lora adapter": ["algo=ppo", "algo.critic=adapter", "model.lora.rank=16"],
    "ppo lora separate": ["algo=ppo", "algo.critic=separate", "model.lora.rank=16"],
    "ppo recomputing": ["algo=ppo", "algo.critic=shared", "model.gradient_checkpointing=true"],
    "ppo bfloat16 reference": ["algo=ppo", "algo.critic=shared", "model.reference_dtype=bfloat16"],
    "sft": ["algo=sft", "algo.batch_size=8"],
}


def ratio(words: list[str]) -> tuple[float, float]:
    """Bytes as the check says, and as the run was."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        said = json.loads(rlnlp("check", *words, "--json", cwd=place))
        rlnlp("train", *words, "hydra.run.dir=run", cwd=place)
        memory = json.loads((place / "run" / "run.json").read_text())["peak_memory_bytes"]
    return said["memory_bytes"], memory.get("cuda", memory["process"])


def main() -> None:
    """Print the ratio of what was said to what was, for each case."""
    model = f"model.path={Path(sys.argv[1]).resolve()}" if len(sys.argv) > 1 else None
    cases = {name: [*words, *SMALL] for name, words in CASES.items()}
    if model is not None:
        cases |= {name: [*LARGE, *words, model] for name, words in CASES_OF_MODEL.items()}
    for name in sys.argv[2:] or cases:
        said, was = ratio(cases[name])
        bound = "" if abs(said / was - 1) <= WITHIN else "  OUT OF BOUNDS"
        print(
            f"{name:28s} said {said / 2**20:7.0f} MB, was {was / 2**20:7.0f} MB: x {said / was:.2f}{bound}", flush=True
        )


if __name__ == "__main__":
    main()
