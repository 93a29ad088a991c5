"""Reward for given words."""

from rlnlp.rewards.text.words import words as words_of


def keywords(completions: list[str], words: list[str]) -> list[float]:
    """Fraction of ``words`` (or phrases) that occur in the completion as whole words in any case, in [0, 1].

    Raises:
        ValueError: ``words`` is empty, or one of them has no letter or digit.
    """
    wanted = [_spaced(phrase) for phrase in words]
    if not wanted or "  " in wanted:
        raise ValueError(f"words must be words or phrases, at least one, got {words}")
    texts = [_spaced(completion) for completion in completions]
    return [sum(phrase in text for phrase in wanted) / len(wanted) for text in texts]


def _spaced(text: str) -> str:
    return f" {' '.join(words_of(text.casefold()))} "
