"""What a policy answers to the held-out prompts: a few responses to each, with what can be said of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlnlp.algos.setup import OnPolicySetup
from rlnlp.data.answers import words
from rlnlp.data.prompts import PromptTable
from rlnlp.evaluate.measure import BATCH
from rlnlp.models.chat import Prompt, prompt_text
from rlnlp.models.policy import LogprobFn
from rlnlp.rewards.model.learned import Asked, ScoreTexts, with_prompts
from rlnlp.rollout.sampling import Collect
from rlnlp.types import Scores

Values = NDArray[np.float64]
Numbers = Callable[[int], np.random.Generator]  # the random numbers of each draw: 0, 1, ...


@dataclass(frozen=True)
class Draws:
    """D responses to each of P prompts: ``asked`` prompts and responses, draw by draw, ``gold`` (P, D) their gold
    reward, ``kl`` (P, D) nats from the first policy, ``tokens`` (P, D).

    ``terms`` name -> (P, D) are those of the gold reward, NaN where one abstains; a checkpoint does not keep them.
    """

    asked: list[list[Asked]]
    gold: Values
    kl: Values
    tokens: Values
    terms: dict[str, Values] = field(default_factory=dict)

    def rewards(self, scores: ScoreTexts) -> Values:
        """The scores of a reward model, (P, D)."""
        found = scores([each for draw in self.asked for each in draw]).double().cpu().numpy()
        values: Values = found.reshape(len(self.asked), -1).T
        return values

    def rows(self) -> list[dict[str, Any]]:
        """A record for each prompt: its first response with what is known of it."""
        return [
            {
                "prompt": "" if prompt is None else prompt if isinstance(prompt, str) else prompt_text(prompt),
                "response": words(answer[-1] if isinstance(answer, list) else answer),
                **{name: float(vars(self)[name][i, 0]) for name in ("gold", "kl", "tokens")},
            }
            for i, (prompt, answer) in enumerate(self.asked[0])
        ]

    def first(self) -> "Draws":
        """The first response to each prompt alone."""
        terms = {name: values[:, :1] for name, values in self.terms.items()}
        return Draws(self.asked[:1], self.gold[:, :1], self.kl[:, :1], self.tokens[:, :1], terms)

    def as_json(self) -> dict[str, Any]:
        """What ``from_json`` reads, for a checkpoint: all but the terms."""
        arrays = {name: vars(self)[name].tolist() for name in ("gold", "kl", "tokens")}
        return {"asked": self.asked, **arrays}

    @staticmethod
    def from_json(stored: dict[str, Any]) -> "Draws":
        """What ``as_json`` gave."""
        asked = [[(prompt, answer) for prompt, answer in draw] for draw in stored["asked"]]
        gold, kl, tokens = (np.array(stored[name], dtype=np.float64) for name in ("gold", "kl", "tokens"))
        return Draws(asked, gold, kl, tokens)


def heldout_draws(setup: OnPolicySetup, collect: Collect, kl: LogprobFn, numbers: Numbers, count: int) -> Draws:
    """``count`` responses of ``collect`` to each held-out prompt, draw ``d`` with the random ``numbers(d)``.

    ``kl`` gives their divergence from the first policy, (B, T).
    """
    device = setup.policy.device
    rows = setup.table.heldout
    asked: list[list[Asked]] = []
    figures: list[Values] = []
    with torch.no_grad():
        for d in range(count):
            rng = numbers(d)
            drawn: list[Asked] = []
            found: list[Values] = []
            for start in range(0, len(rows), BATCH):
                rollout = collect(setup.table.batch(rows[start : start + BATCH], device), rng)
                scores = setup.reward(rollout)
                values = [scores.score, kl(rollout).sum(1), rollout.mask.sum(1), *known_terms(scores).values()]
                found.append(np.stack([each.double().cpu().numpy() for each in values]))
                drawn += list(with_prompts(setup.table.texts(rollout)))
            asked.append(drawn)
            figures.append(np.concatenate(found, axis=1))
    gold, divergence, tokens, *terms = np.stack(figures, axis=-1)
    return Draws(asked, gold, divergence, tokens, dict(zip(setup.terms, terms, strict=True)))


def known_terms(scores: Scores) -> dict[str, Tensor]:
    """The terms of a reward, (B,) each, NaN where one abstains."""
    return {
        name: value.double().masked_fill(~scores.given[name].to(value.device), math.nan) if name in scores.given
        else value
        for name, value in scores.terms.items()
    }  # fmt: skip


def responses(
    table: PromptTable, rows: Sequence[int], collect: Collect, count: int, rng: np.random.Generator,
    device: torch.device,
) -> list[tuple[Prompt | None, list[Asked]]]:  # fmt: skip
    """``count`` responses to each prompt of ``rows``: the prompt, and what was answered to it."""
    found: list[tuple[Prompt | None, list[Asked]]] = []
    size = max(1, BATCH // count)
    for start in range(0, len(rows), size):
        rollout = collect(table.batch(rows[start : start + size], device).repeat(count), rng)
        each = list(with_prompts(table.texts(rollout)))
        found += [(each[i][0], each[i : i + count]) for i in range(0, len(each), count)]
    return found
