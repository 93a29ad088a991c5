"""Reward for not repeating n-grams."""

from typing import Annotated

from rlnlp.rewards.text.words import words


def repetition(completions: list[str], n: Annotated[int, {"ge": 1}] = 3) -> list[float]:
    """1 - (fraction of the n-grams of words that occurred before in the text), in [0, 1]; 1 for fewer than n words."""
    return [_distinct_fraction(words(completion), n) for completion in completions]


def _distinct_fraction(tokens: list[str], n: int) -> float:
    ngrams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return len(set(ngrams)) / len(ngrams) if ngrams else 1.0
