"""The random walks of trlx (examples/randomwalks): a graph in which a policy has to find the shortest paths.

``python -m rlnlp.embedded.randomwalks DIRECTORY`` writes the tokenizer, the walks and the start nodes. A text is a
walk, one letter per node; the goal is ``a``. The best possible score is known: 1 for every start.
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

NODES, WALKS, MAX_LENGTH, SEED = 21, 1000, 10, 0
EDGE_PROBABILITY = 0.1
GOAL = 0
LETTERS = string.ascii_lowercase[:NODES]


def optimality(prompts: list[str], completions: list[str]) -> list[float]:
    """(10 - length) / (10 - shortest): 1 for a shortest path, 0 for a walk that misses the goal or leaves the graph.

    The length is the number of letters up to the goal, both ends included.
    """
    return [_optimality(prompt + completion) for prompt, completion in zip(prompts, completions, strict=True)]


@cache
def graph() -> tuple[tuple[int, ...], ...]:
    """The successors of each node: random, and such that the goal can be reached from every node."""
    rng = stream(SEED, "graph")
    while True:
        edges = rng.random((NODES, NODES)) < EDGE_PROBABILITY
        np.fill_diagonal(edges, False)
        successors = tuple(tuple(np.flatnonzero(row).tolist()) for row in edges)
        lengths = distances(successors)
        if all(successors) and len(lengths) == NODES and max(lengths.values()) < MAX_LENGTH:
            return successors


def distances(edges: tuple[tuple[int, ...], ...]) -> dict[int, int]:
    """The number of letters on a shortest path from each node to the goal, both ends included."""
    lengths, queue = {GOAL: 1}, deque([GOAL])
    while queue:
        node = queue.popleft()
        for before in range(NODES):
            if node in edges[before] and before not in lengths:
                lengths[before] = lengths[node] + 1
                queue.append(before)
    return lengths


def walks() -> list[str]:
    """Random walks of at most ten letters from random starts; a walk that reaches the goal ends there."""
    rng, edges, texts = stream(SEED, "walks"), graph(), []
    for _ in range(WALKS):
        path = [int(rng.integers(1, NODES))]
        while path[-1] != GOAL and len(path) < MAX_LENGTH:
            path.append(int(rng.choice(edges[path[-1]])))
        texts.append("".join(LETTERS[node] for node in path))
    return texts


def _optimality(walk: str) -> float:
    shortest, length = distances(graph()), 1
    if not walk or walk[0] not in LETTERS or walk[0] == LETTERS[GOAL]:
        return 0.0
    for node, successor in pairwise(walk):
        if successor not in LETTERS or LETTERS.index(successor) not in graph()[LETTERS.index(node)]:
            return 0.0
        length += 1
        if successor == LETTERS[GOAL]:
            return max(0.0, (MAX_LENGTH - length) / (MAX_LENGTH - shortest[LETTERS.index(walk[0])]))
    return 0.0


def write_assets(directory: Path) -> None:
    """Write the tokenizer, ``texts.jsonl`` (walks) and ``prompts.jsonl`` (start nodes) into ``directory``."""
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
