"""Scores of a policy's responses to fixed prompts with fixed random numbers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnlp.data.prompts import PromptTable
from rlnlp.maths.statistics import mean_interval
from rlnlp.rewards.terms import Reward
from rlnlp.rollout.sampling import Collect
from rlnlp.types import Rollout

BATCH = 64  # prompts sampled at once


@dataclass(frozen=True)
class Measurement:
    """One entry per prompt. ``score``, ``kl``, ``tokens`` and every term (N,); ``kl`` in nats per response."""

    score: Tensor
    kl: Tensor
    tokens: Tensor
    terms: dict[str, Tensor]
    prompts: list[str]
    responses: list[str]
    apart: bool  # these prompts are held out from training


@torch.no_grad()
def measure(
    table: PromptTable, rows: Sequence[int], collect: Collect, reward: Reward, kl: Callable[[Rollout], Tensor],
    rng: np.random.Generator, device: torch.device,
) -> Measurement:  # fmt: skip
    """One response to each prompt of ``rows``. Two calls with the same ``rng`` are a paired comparison."""
    scores, kls, tokens, prompts, responses = [], [], [], [], []
    terms: dict[str, list[Tensor]] = {}
    for start in range(0, len(rows), BATCH):
        rollout = collect(table.batch(rows[start : start + BATCH], device), rng)
        scored, texts = reward(rollout), table.texts(rollout)
        scores.append(scored.score.cpu())
        kls.append(kl(rollout).sum(1).cpu())
        tokens.append(rollout.mask.sum(1).cpu())
        prompts += texts.prompts
        responses += texts.completions
        for name, term in scored.terms.items():
            terms.setdefault(name, []).append(term.cpu())
    return Measurement(
        torch.cat(scores),
        torch.cat(kls),
        torch.cat(tokens),
        {n: torch.cat(t) for n, t in terms.items()},
        prompts,
        responses,
        table.heldout_is_separate,
    )


def comparison(before: Measurement, after: Measurement) -> dict[str, Any]:
    """The result for ``run.json``: two measurements on the same prompts, with 95 % intervals paired by prompt."""
    return {
        "n": len(before.score),
        "heldout": before.apart,
        "before": _means(before),
        "after": _means(after),
        "difference": {
            "score": _difference(before.score, after.score),
            "terms": {name: _difference(before.terms[name], after.terms[name]) for name in before.terms},
        },
    }


def heldout_rows(before: Measurement, after: Measurement) -> Iterator[dict[str, Any]]:
    """A record for each prompt, for heldout.jsonl: both responses with all their scores."""
    for i, prompt in enumerate(before.prompts):
        yield {"prompt": prompt, "before": _record(before, i), "after": _record(after, i)}


def _record(measurement: Measurement, i: int) -> dict[str, Any]:
    return {
        "response": measurement.responses[i],
        "score": float(measurement.score[i]),
        "terms": {name: float(term[i]) for name, term in measurement.terms.items()},
        "kl": float(measurement.kl[i]) if bool(measurement.kl[i].isfinite()) else None,
        "tokens": int(measurement.tokens[i]),
    }


def score_gain(one: Measurement, other: Measurement) -> Tensor:
    """How much higher the score of ``one`` is, (N,), by prompt."""
    return one.score - other.score


def _means(measurement: Measurement) -> dict[str, Any]:
    terms = {name: float(term.mean()) for name, term in measurement.terms.items()}
    return {"score": float(measurement.score.mean()), "kl": float(measurement.kl.mean()), "terms": terms}


def _difference(before: Tensor, after: Tensor) -> dict[str, Any]:
    mean, low, high = mean_interval(after - before)
    return {"mean": mean, "interval": [low, high] if len(before) > 1 else None}
