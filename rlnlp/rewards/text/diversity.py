"""Reward for not repeating words."""

from rlnlp.rewards.text.words import words


def diversity(completions: list[str]) -> list[float]:
    """Distinct words divided by words (type-token ratio); 0 for a completion without words."""
    token_lists = [words(completion) for completion in completions]
    return [len(set(tokens)) / len(tokens) if tokens else 0.0 for tokens in token_lists]
