"""Reward for a length within a range."""

from rlnlp.rewards.text.words import words


def length(completions: list[str], low: int, high: int) -> list[float]:
    """1 for ``low`` to ``high`` words, falling linearly to 0 at no word and at twice ``high``."""
    return [_fit(len(words(completion)), low, high) for completion in completions]


def _fit(count: int, low: int, high: int) -> float:
    if count < low:
        return count / low
    return max(0.0, 1 - (count - high) / high) if count > high else 1.0
