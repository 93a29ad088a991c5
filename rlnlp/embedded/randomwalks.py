"""The random walks of trlx (examples/randomwalks): a graph whose shortest paths a policy must find.

``python -m rlnlp.embedded.randomwalks DIRECTORY`` writes the letters' tokenizer, the walks and the start letters. A
text is a walk, one letter a node; the goal is ``a``. As the graph is known, so is the best score of every start: 1.
"""

import json
import string
import sys
from collections import deque
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from rlnlp.rng import stream

NODES, EDGE, WALKS, LONGEST, SEED = 21, 0.1, 1000, 10, 0
GOAL = 0
LETTERS = string.ascii_lowercase[:NODES]


def optimality(prompts: list[str], completions: list[str]) -> list[float]:
    """(10 - length) / (10 - shortest): 1 for a shortest path, 0 for a walk that is endless or leaves the graph.

    The length is counted in letters, up to and with the goal.
    """
    return [_optimality(prompt + completion) for prompt, completion in zip(prompts, completions, strict=True)]


@cache
def graph() -> tuple[tuple[int, ...], ...]:
    """The successors of each node: every edge with probability ``EDGE``, every start within reach of the goal."""
    rng = stream(SEED, "graph")
    while True:
        edges = rng.random((NODES, NODES)) < EDGE
        np.fill_diagonal(edges, False)
        found = tuple(tuple(np.flatnonzero(row).tolist()) for row in edges)
        if all(found) and len(distances(found)) == NODES and max(distances(found).values()) < LONGEST:
            return found


def distances(edges: tuple[tuple[int, ...], ...]) -> dict[int, int]:
    """Letters on a shortest path from each node to the goal, both ends counted."""
    found, waiting = {GOAL: 1}, deque([GOAL])
    while waiting:
        node = waiting.popleft()
        for before in range(NODES):
            if node in edges[before] and before not in found:
                found[before] = found[node] + 1
                waiting.append(before)
    return found


def walks() -> list[str]:
    """Random walks of at most ten letters from random starts; those that meet the goal stop there."""
    rng, edges, texts = stream(SEED, "walks"), graph(), []
    for _ in range(WALKS):
        path = [int(rng.integers(1, NODES))]
        while path[-1] != GOAL and len(path) < LONGEST:
            path.append(int(rng.choice(edges[path[-1]])))
        texts.append("".join(LETTERS[node] for node in path))
    return texts


def _optimality(walk: str) -> float:
    shortest, length = distances(graph()), 1
    if not walk or walk[0] not in LETTERS or walk[0] == LETTERS[GOAL]:
        return 0.0
    for here, there in pairwise(walk):
        if there not in LETTERS or LETTERS.index(there) not in graph()[LETTERS.index(here)]:
            return 0.0
        length += 1
        if there == LETTERS[GOAL]:
            return max(0.0, (LONGEST - length) / (LONGEST - shortest[LETTERS.index(walk[0])]))
    return 0.0


def write_assets(directory: Path) -> None:
    """Write tokenizer, ``texts.jsonl`` (walks to imitate) and ``prompts.jsonl`` (starts) into ``directory``."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|end|>", "<|unknown|>"]
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*special, *LETTERS])}, unk_token=special[2]))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    raw.decoder = decoders.Fuse()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token=special[0], eos_token=special[1], unk_token=special[2]
    )
    wrapped.save_pretrained(directory)
    pairs = [{"prompt": walk[0], "completion": walk[1:]} for walk in walks()]
    starts = [{"prompt": letter} for letter in LETTERS if letter != LETTERS[GOAL]]
    for name, records in (("texts", pairs), ("prompts", starts)):
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


if __name__ == "__main__":
    write_assets(Path(sys.argv[1]))
