"""A policy's responses to fixed prompts with fixed random numbers, scored."""

from collections.abc import Callable
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

BATCH = 64  # prompts sampled side by side


@dataclass(frozen=True)
class Measurement:
    """One entry per prompt. ``score``, ``kl`` and every term (N,); ``kl`` in nats per response."""

    score: Tensor
    kl: Tensor
    terms: dict[str, Tensor]
    prompts: list[str]
    responses: list[str]
    apart: bool  # training does not see these prompts


@torch.no_grad()
def measure(
    table: PromptTable, collect: Collect, reward: Reward, kl: Callable[[Rollout], Tensor],
    rng: np.random.Generator, device: torch.device,
) -> Measurement:  # fmt: skip
    """One response to each held-out prompt. The same ``rng`` makes a paired comparison."""
    scores, kls, prompts, responses = [], [], [], []
    terms: dict[str, list[Tensor]] = {}
    for start in range(0, len(table.heldout), BATCH):
        rollout = collect(table.batch(table.heldout[start : start + BATCH], device), rng)
        scored, texts = reward(rollout), table.texts(rollout)
        scores.append(scored.score.cpu())
        kls.append(kl(rollout).sum(1).cpu())
        prompts += texts.prompts
        responses += texts.completions
        for name, term in scored.terms.items():
            terms.setdefault(name, []).append(term.cpu())
    return Measurement(
        torch.cat(scores),
        torch.cat(kls),
        {n: torch.cat(t) for n, t in terms.items()},
        prompts,
        responses,
        table.heldout_is_separate,
    )


def comparison(before: Measurement, after: Measurement) -> dict[str, Any]:
    """What ``run.json`` says of two measurements on the same prompts; intervals of 95 %, paired by prompt."""
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


def _means(measured: Measurement) -> dict[str, Any]:
    terms = {name: float(term.mean()) for name, term in measured.terms.items()}
    return {"score": float(measured.score.mean()), "kl": float(measured.kl.mean()), "terms": terms}


def _difference(before: Tensor, after: Tensor) -> dict[str, Any]:
    mean, low, high = mean_interval(after - before)
    return {"mean": mean, "interval": [low, high] if len(before) > 1 else None}
