"""Reward for the words of a reference text."""

from collections import Counter
from collections.abc import Callable
from typing import Literal

from rlnlp.errors import Exit, Failure
from rlnlp.rewards.text.words import words


def similarity(
    completions: list[str], references: list[str | None], measure: Literal["f1", "recall", "rouge-l"] = "f1"
) -> list[float]:
    """Overlap of the words of completion and reference, in [0, 1]; lower-case, without stemming; 0 if either has none.

    ``f1``: ROUGE-1 F (Lin 2004), each word counted as often as both have it. ``recall``: ROUGE-1 R, the fraction of
    the reference's words. ``rouge-l``: F1 of the longest common subsequence, ROUGE-L F.

    Raises:
        Failure: exit 3, if a prompt has no reference.
    """
    if None in references:
        raise Failure(
            Exit.DATA,
            "reward.terms.similarity needs a 'reference' for every prompt, and the data has none for some\n"
            "add the field to the data, or remove the term with '~reward.terms.similarity'",
            "no-reference",
        )
    score = MEASURES[measure]
    return [score(words(c), words(r or "")) for c, r in zip(completions, references, strict=True)]


def _shared(completion: list[str], reference: list[str]) -> int:
    return sum((Counter(completion) & Counter(reference)).values())


def _f1(completion: list[str], reference: list[str]) -> float:
    shared = _shared(completion, reference)
    return 2 * shared / (len(completion) + len(reference)) if shared else 0.0


def _recall(completion: list[str], reference: list[str]) -> float:
    return _shared(completion, reference) / len(reference) if reference else 0.0


def _rouge_l(completion: list[str], reference: list[str]) -> float:
    longest = [0] * (len(reference) + 1)  # common subsequence of the words so far and each prefix of the reference
    for word in completion:
        diagonal = 0
        for j, other in enumerate(reference, 1):
            above = longest[j]
            longest[j] = diagonal + 1 if word == other else max(above, longest[j - 1])
            diagonal = above
    return 2 * longest[-1] / (len(completion) + len(reference)) if longest[-1] else 0.0


MEASURES: dict[str, Callable[[list[str], list[str]], float]] = {"f1": _f1, "recall": _recall, "rouge-l": _rouge_l}
