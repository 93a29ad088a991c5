"""What is measured of responses as texts: how varied they are, how much they repeat, how near to references."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rlnlp.rewards.text.repetition import repetition
from rlnlp.rewards.text.similarity import similarity
from rlnlp.rewards.text.words import words

Array = NDArray[np.float64]


def distinct(responses: Sequence[Sequence[str]], n: int) -> Array:
    """Distinct n-grams of words divided by n-grams, over the responses to each prompt: (P,), NaN without any.

    distinct-1 and distinct-2 of Li et al. 2016 (arXiv:1510.03055), section 5.2.
    """
    return np.array([_distinct(texts, n) for texts in responses])


def repeated(responses: Sequence[Sequence[str]]) -> Array:
    """The fraction of the 3-grams of words that occurred before in the response: (P, S)."""
    return np.array([[1 - value for value in repetition(list(texts))] for texts in responses])


def rouge_l(responses: Sequence[Sequence[str]], references: Sequence[str | None]) -> Array:
    """ROUGE-L F (Lin 2004) of each response against the reference of its prompt: (P, S), NaN where there is none."""
    rows = [
        [float("nan")] * len(texts)
        if reference is None
        else similarity(list(texts), [reference] * len(texts), "rouge-l")
        for texts, reference in zip(responses, references, strict=True)
    ]
    return np.array(rows)


def _distinct(texts: Sequence[str], n: int) -> float:
    said = [words(text) for text in texts]
    ngrams = [tuple(tokens[i : i + n]) for tokens in said for i in range(len(tokens) - n + 1)]
    return len(set(ngrams)) / len(ngrams) if ngrams else float("nan")
