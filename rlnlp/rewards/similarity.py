"""Reward for the words of a reference text."""

from collections import Counter

from rlnlp.errors import Exit, Failure
from rlnlp.rewards.words import words


def similarity(completions: list[str], references: list[str | None]) -> list[float]:
    """F1 of the words that completion and reference share, each word counted as often as both have it.

    This is ROUGE-1 F (Lin 2004) on lower-case words without stemming; 0 where either has no words.

    Raises:
        Failure: exit 3, if a prompt has no reference.
    """
    if None in references:
        raise Failure(
            Exit.DATA,
            "reward.terms.similarity needs a 'reference' beside every prompt, and the data has none for some\n"
            "add the field to the data, or leave the term out with ~reward.terms.similarity",
        )
    return [_f1(words(c), words(r or "")) for c, r in zip(completions, references, strict=True)]


def _f1(completion: list[str], reference: list[str]) -> float:
    shared = sum((Counter(completion) & Counter(reference)).values())
    return 2 * shared / (len(completion) + len(reference)) if shared else 0.0
