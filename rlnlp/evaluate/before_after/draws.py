"""Responses of one side of a comparison, several to each prompt, with all that is measured of each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlnlp.data.prompts import PromptTable
from rlnlp.maths.kl import k1
from rlnlp.models.policy import LogprobFn
from rlnlp.rewards.terms import Reward
from rlnlp.rollout.sampling import Collect
from rlnlp.types import Rollout, Scores

Array = NDArray[np.float64]
BATCH = 64  # responses at once


@dataclass(frozen=True)
class Draws:
    """S responses to each of P prompts. Every figure is (P, S), NaN where there is none.

    ``score`` and ``terms`` are of the run's reward, ``judges`` of others. ``kl`` in nats per response, ``length`` in
    tokens, ``ended`` 0 or 1, ``surprisal`` in nats per token under the first policy.
    """

    prompts: list[str]
    responses: list[list[str]]
    score: Array
    terms: dict[str, Array]
    judges: dict[str, Array]
    kl: Array
    length: Array
    ended: Array
    surprisal: Array

    def first(self, samples: int) -> "Draws":
        """The first ``samples`` responses to each prompt."""
        values = {name: getattr(self, name)[:, :samples] for name in ("score", "kl", "length", "ended", "surprisal")}
        return Draws(
            self.prompts, [texts[:samples] for texts in self.responses],
            terms={name: value[:, :samples] for name, value in self.terms.items()},
            judges={name: value[:, :samples] for name, value in self.judges.items()}, **values,
        )  # fmt: skip

    def with_endings(self, ended: Array) -> "Draws":
        """The same with what the side itself said of where its responses ended, (P, S)."""
        return replace(self, ended=ended)


@dataclass(frozen=True)
class Scoring:
    """What every response is measured by: the run's prompts and reward, other judges, and the first policy.

    ``reference`` are the first policy's log-probabilities at the sampling temperature, ``plain`` those at 1.
    ``content`` has the sha256 of what the reward is made of, by setting.
    """

    table: PromptTable
    reward: Reward
    judges: Mapping[str, Reward]
    reference: LogprobFn
    plain: LogprobFn
    content: Mapping[str, str]

    def figures(self, rollout: Rollout, logprobs: LogprobFn | None) -> dict[str, Any]:
        """All figures of a rollout, (B,) each; the KL is NaN where ``logprobs`` of the policy are not known."""
        scored = self.reward(rollout)
        judged = {name: judge(rollout) for name, judge in self.judges.items()}
        count = rollout.mask.sum(1)
        unknown = torch.full(count.shape, torch.nan, device=count.device)
        surprisal = (-self.plain(rollout).sum(1) / count.clamp(min=1)).where(count > 0, unknown)
        kl = unknown if logprobs is None else k1(logprobs(rollout), self.reference(rollout)).sum(1)
        return {
            "score": scored.score, "terms": _values(scored), "judges": {name: _judged(s) for name, s in judged.items()},
            "kl": kl, "length": count, "ended": rollout.ended, "surprisal": surprisal,
        }  # fmt: skip


def sampled(
    table: PromptTable, rows: Sequence[int], collect: Collect, samples: int, rng: np.random.Generator,
    device: torch.device,
) -> Iterator[Rollout]:  # fmt: skip
    """``samples`` responses to each prompt of ``rows``, some prompts at a time."""
    size = max(1, BATCH // samples)
    for start in range(0, len(rows), size):
        yield collect(table.batch(rows[start : start + size], device).repeat(samples), rng)


def given(
    table: PromptTable, rows: Sequence[int], texts: Sequence[Sequence[str]], device: torch.device
) -> Iterator[Rollout]:
    """The same of texts that were not drawn here."""
    size = max(1, BATCH // len(texts[0]))
    for start in range(0, len(rows), size):
        yield table.as_rollout(rows[start : start + size], texts[start : start + size], device)


@torch.no_grad()
def measured(
    rollouts: Iterator[Rollout], samples: int, scoring: Scoring, logprobs: LogprobFn | None,
    told: Callable[[int], None] = lambda done: None,
) -> Draws:  # fmt: skip
    """The responses of ``rollouts``, each prompt's ``samples`` side by side, with their figures."""
    prompts: list[str] = []
    responses: list[str] = []
    rows: list[dict[str, Any]] = []
    for rollout in rollouts:
        texts = scoring.table.texts(rollout)
        prompts += texts.prompts
        responses += texts.completions
        rows.append(scoring.figures(rollout, logprobs))
        told(len(responses))

    def joined(*keys: str) -> Array:
        parts = []
        for row in rows:
            value: Any = row
            for key in keys:
                value = value[key]
            parts.append(value.double().cpu())
        found: Array = torch.cat(parts).numpy().reshape(-1, samples)
        return found

    return Draws(
        prompts[::samples], [responses[i : i + samples] for i in range(0, len(responses), samples)], joined("score"),
        {name: joined("terms", name) for name in rows[0]["terms"]},
        {name: joined("judges", name) for name in rows[0]["judges"]},
        joined("kl"), joined("length"), joined("ended"), joined("surprisal"),
    )  # fmt: skip


def _values(scored: Scores) -> dict[str, Tensor]:
    """Each term, NaN where it abstains."""
    return {
        name: value if name not in scored.given else value.masked_fill(~scored.given[name].to(value.device), torch.nan)
        for name, value in scored.terms.items()
    }


def _judged(scored: Scores) -> Tensor:
    """A judge's score, NaN where all of its terms abstain."""
    if not scored.terms or set(scored.terms) != set(scored.given):
        return scored.score
    silent = ~torch.stack([given.to(scored.score.device) for given in scored.given.values()]).any(0)
    return scored.score.masked_fill(silent, torch.nan)
