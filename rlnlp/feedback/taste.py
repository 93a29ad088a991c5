"""The hidden taste of simulated annotators: a weighted sum of scores, by which each of them may differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlnlp.models.chat import Prompt, conversation_text
from rlnlp.rewards.text import gold

Terms = Callable[[list[str], list[str]], NDArray[np.float64]]
GOLD = {"sentiment": 0.4, "politeness": 0.3, "helpfulness": 0.3}


@dataclass(frozen=True)
class Taste:
    """What pleases: ``terms`` give the scores (N, K) of N responses to prompts, ``weights`` (K,) how much each counts.

    ``low`` and ``high`` are what is rated with 1 and with 10.
    """

    terms: Terms
    weights: tuple[float, ...]
    low: float = 0.0
    high: float = 1.0

    def scores(self, prompts: Sequence[Prompt | None], responses: Sequence[str]) -> NDArray[np.float64]:
        """The taste (N,) for each response."""
        terms = self.terms([_text(prompt) for prompt in prompts], list(responses))
        return np.asarray(terms @ np.array(self.weights), dtype=np.float64)


def gold_taste() -> Taste:
    """The taste of the embedded language, without noise, in [0, 1]."""

    def terms(prompts: list[str], responses: list[str]) -> NDArray[np.float64]:
        columns = (gold.sentiment, gold.politeness, gold.helpfulness)
        return np.array([column(prompts, responses) for column in columns]).reshape(3, -1).T

    return Taste(terms, tuple(GOLD.values()))


def _text(prompt: Prompt | None) -> str:
    return prompt or "" if not isinstance(prompt, list) else conversation_text(prompt)
