"""Reward for not saying the same run of words again."""

from typing import Annotated

from rlnlp.rewards.text.words import words


def repetition(completions: list[str], n: Annotated[int, {"ge": 1}] = 3) -> list[float]:
    """1 - (share of the runs of ``n`` words that occurred before in the text), in [0, 1]; 1 for fewer than n words."""
    return [_new(words(completion), n) for completion in completions]


def _new(tokens: list[str], n: int) -> float:
    runs = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 1.0
