"""Which pairs of responses people are asked about: at random, or where an ensemble of reward models disagrees most."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


class Candidate(NamedTuple):
    """Two different responses to a prompt, by their numbers."""

    prompt: int
    first: int
    second: int


def candidates(responses: Sequence[Sequence[str]]) -> list[Candidate]:
    """Every two responses to the same prompt that differ by more than spaces at their ends; of equal ones the first."""
    found = []
    for prompt, texts in enumerate(responses):
        distinct = {text.strip(): number for number, text in reversed(list(enumerate(texts)))}
        found += [Candidate(prompt, i, j) for i, j in combinations(sorted(distinct.values()), 2)]
    return found


def at_random(pairs: Sequence[Candidate], count: int, rng: np.random.Generator) -> list[Candidate]:
    """``count`` of the pairs, or all, in their order: one of each prompt before a second one of any."""
    return _spread([pairs[i] for i in rng.permutation(len(pairs))], count)


def by_disagreement(pairs: Sequence[Candidate], scores: Sequence[Scores], count: int) -> list[Candidate]:
    """The ``count`` pairs on which the members of an ensemble disagree most, in their order, over the prompts as above.

    ``scores`` has (M, K) for each prompt: M members, K responses. Disagreement is the standard deviation over members
    of the difference of the two scores: how much they differ on which is better, and by how much (Christiano et al.
    2017, section 2.2.4, who take the variance). A score that a member adds to all responses has no part in it.

    Raises:
        ValueError: there are fewer than two members.
    """
    if any(len(each) < 2 for each in scores):
        raise ValueError("disagreement needs an ensemble of at least 2")
    differing = [
        float(np.std(scores[pair.prompt][:, pair.first] - scores[pair.prompt][:, pair.second])) for pair in pairs
    ]
    order = sorted(range(len(pairs)), key=lambda i: (-differing[i], pairs[i]))
    return _spread([pairs[i] for i in order], count)


def _spread(ranked: Sequence[Candidate], count: int) -> list[Candidate]:
    """The first ``count``: the best of each prompt, best first, then the second best of each, and so on."""
    taken: dict[int, int] = defaultdict(int)
    turns = []
    for rank, pair in enumerate(ranked):
        turns.append((taken[pair.prompt], rank))
        taken[pair.prompt] += 1
    return sorted(ranked[rank] for _, rank in sorted(turns)[:count])
