"""The least time that an iteration of a workload can take: its multiplications at the rate that this machine reaches.

A process of its own, so that the bench itself stays small: ``python floor.py FOLDER WORKLOAD THREADS DTYPE`` prints
seconds as JSON. Elementwise work is free in it, so nothing reaches it. The last layer's rows count only where they are
read; old log-probabilities and values are free.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from workload import WORKLOADS, Workload

CACHED = 32e6  # bytes of weights that stay in the cache from one token to the next
ADAM_BYTES = 28  # read and written per weight: weight, gradient, two moments


@dataclass(frozen=True)
class Size:
    """Multiply-adds per token of a Llama's layer, and its vocabulary."""

    layers: int
    queries_and_mlp: int
    keys_and_values: int
    head: int
    attention: int

    @property
    def weights(self) -> int:
        """How many there are."""
        return self.layers * (self.queries_and_mlp + self.keys_and_values) + self.head


@dataclass(frozen=True)
class Rates:
    """Floating-point operations per second in layers and head, bytes per second of reading, bytes of a number."""

    layers: float
    head: float
    memory: float
    width: int


def size(folder: Path) -> Size:
    """The size of the policy in ``folder``."""
    c = json.loads((folder / "policy" / "config.json").read_text())
    d, heads = c["hidden_size"], c["num_attention_heads"]
    per_head = c.get("head_dim") or d // heads
    return Size(
        c["num_hidden_layers"], 2 * d * heads * per_head + 3 * d * c["intermediate_size"],
        2 * d * c["num_key_value_heads"] * per_head, c["vocab_size"] * d, 4 * heads * per_head,
    )  # fmt: skip


def rates(folder: Path, work: Workload, dtype: torch.dtype) -> Rates:
    """What this machine reaches at the workload's own shapes."""
    c = json.loads((folder / "policy" / "config.json").read_text())
    d, tokens = c["hidden_size"], int(work.batch * (work.prompt + work.new))
    numbers, answers = torch.randn(64 * 2**20), work.batch * work.new
    return Rates(
        products(tokens, d, 2 * c["intermediate_size"], dtype), products(answers, d, c["vocab_size"], dtype),
        numbers.nbytes / seconds(lambda: numbers.sum()), dtype.itemsize,
    )  # fmt: skip


def products(rows: int, width: int, columns: int, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a matrix product."""
    x, w = torch.randn(rows, width, dtype=dtype), torch.randn(columns, width, dtype=dtype)
    return 2 * rows * width * columns / seconds(lambda: torch.nn.functional.linear(x, w))


def seconds(work, spent: float = 1.0) -> float:
    """The shortest time of ``work``."""
    took, begun = [], time.perf_counter()
    while time.perf_counter() - begun < spent or len(took) < 5:
        before = time.perf_counter()
        work()
        took.append(time.perf_counter() - before)
    return min(took)


def forward(k: Size, r: Rates, sequences: int, length: float, read: int, headed: int) -> float:
    """Seconds of one pass: ``read`` rows of a sequence go through the last layer, ``headed`` through the head."""
    inner = (k.queries_and_mlp + k.keys_and_values) * (k.layers - 1) * length
    last = k.keys_and_values * length + k.queries_and_mlp * read
    attention = k.attention * (length * length / 2 * (k.layers - 1) + read * length * 0.75)
    return sequences * ((2 * (inner + last) + attention) / r.layers + 2 * k.head * headed / r.head)


def floors(k: Size, r: Rates, work: Workload, epochs: int) -> dict[str, float]:
    """Seconds of an iteration of each algorithm."""
    b, new, length = work.batch, work.new, work.prompt + work.new
    stepped = 2 * (k.weights - k.head) / r.layers + 2 * k.head / r.head
    stepped += k.attention * k.layers * (work.prompt + new / 2) / r.layers
    streamed = k.weights * r.width / r.memory if k.weights * 4 > CACHED else 0.0
    drawn = forward(k, r, b, work.prompt, 1, 1) + (new - 1) * max(b * stepped, streamed)
    reference, judged = forward(k, r, b, length, new, new), forward(k, r, b, length, 1, 0)
    policy, critic = 3 * reference, 3 * forward(k, r, b, length, new, 0)
    adam = k.weights * ADAM_BYTES / r.memory if k.weights * ADAM_BYTES > CACHED else 0.0
    return {
        "ppo": drawn + reference + judged + epochs * (policy + critic + 2 * adam),
        "shared": drawn + reference + judged + epochs * (policy + adam),
        "reinforce": drawn + reference + policy + adam,
    }


def main() -> None:
    """Measure and print."""
    folder, name, threads, dtype = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), getattr(torch, sys.argv[4])
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("medium")
    reached = rates(folder, WORKLOADS[name], dtype)
    found = floors(size(folder), reached, WORKLOADS[name], epochs=4)
    print("JSON " + json.dumps({**found, "rates": [reached.layers, reached.head, reached.memory]}))


if __name__ == "__main__":
    with torch.no_grad():
        main()
