"""The hidden taste of simulated annotators: a reward without noise, of whose weights each of them may have others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rlnlp.data.given import GivenTexts
from rlnlp.models.chat import Prompt
from rlnlp.rewards.shaping import Shaping
from rlnlp.rewards.terms import Term, summed, weighted_sum

Array = NDArray[np.float64]
Values = Callable[[Sequence[Prompt | None], Sequence[str]], Array]
BATCH = 32  # responses that are scored at once


@dataclass(frozen=True)
class Taste:
    """What pleases: ``values`` gives those of K terms (N, K) for N responses to prompts, NaN where a term abstains.

    ``weights`` (K,) are how much each counts, ``shapings`` how each enters the sum; none: as it is. ``low`` and
    ``high`` are what is rated with 1 and with 10.
    """

    values: Values
    weights: tuple[float, ...]
    low: float = 0.0
    high: float = 1.0
    shapings: tuple[Shaping, ...] = ()

    def scores(self, prompts: Sequence[Prompt | None], responses: Sequence[str]) -> Array:
        """The taste (N,) for each response: the sum that training takes of such terms, in its precision."""
        values = torch.from_numpy(self.values(prompts, responses)).float()
        names = [str(k) for k in range(len(self.weights))]
        shapings = self.shapings or (Shaping(),) * len(self.weights)
        columns = dict(zip(names, values.unbind(1), strict=True))
        total = summed(
            {name: column.nan_to_num() for name, column in columns.items()},
            {name: ~column.isnan() for name, column in columns.items()},
            dict(zip(names, self.weights, strict=True)), dict(zip(names, shapings, strict=True)),
        )  # fmt: skip
        return total.double().numpy()


def taste_of(
    terms: Mapping[str, tuple[Term, float]], shapings: Mapping[str, Shaping], texts: GivenTexts, low: float, high: float
) -> Taste:
    """The taste that a reward is. Its ``terms`` must have been made to read the texts of rollouts from ``texts``.

    No text is scored twice, however many annotators with other weights read it.
    """
    reward = weighted_sum(terms, shapings)
    known: dict[tuple[str, str], list[float]] = {}

    @torch.no_grad()
    def score(asked: Sequence[tuple[Prompt | None, str]]) -> None:
        scores = reward(texts.rollout([prompt for prompt, _ in asked], [response for _, response in asked]))
        columns = []
        for name, value in scores.terms.items():
            here = scores.given.get(name)
            silent = torch.zeros_like(value, dtype=torch.bool) if here is None else ~here.to(value.device)
            columns.append(value.double().masked_fill(silent, torch.nan).cpu())
        for one, row in zip(asked, torch.stack(columns, dim=1).tolist(), strict=True):
            known[_key(*one)] = row

    def values(prompts: Sequence[Prompt | None], responses: Sequence[str]) -> Array:
        every = {_key(*one): one for one in zip(prompts, responses, strict=True)}
        fresh = [one for key, one in every.items() if key not in known]
        for start in range(0, len(fresh), BATCH):
            score(fresh[start : start + BATCH])
        found = [known[_key(*one)] for one in zip(prompts, responses, strict=True)]
        return np.array(found, dtype=np.float64).reshape(-1, len(terms))

    weights = tuple(weight for _, weight in terms.values())
    return Taste(values, weights, low, high, tuple(shapings[name] for name in terms))


def _key(prompt: Prompt | None, response: str) -> tuple[str, str]:
    return repr(prompt), response
