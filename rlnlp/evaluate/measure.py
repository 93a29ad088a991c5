"""Scores of a policy's responses to fixed prompts with fixed random numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    """One entry per prompt. ``score``, ``kl``, ``tokens`` and every term (N,); ``kl`` in nats per response.

    ``given`` is as in ``Scores``, for every term.
    """

    score: Tensor
    kl: Tensor
    tokens: Tensor
    terms: dict[str, Tensor]
    prompts: list[str]
    responses: list[str]
    apart: bool  # these prompts are held out from training
    given: dict[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def measure(
    table: PromptTable, rows: Sequence[int], collect: Collect, reward: Reward, kl: Callable[[Rollout], Tensor],
    rng: np.random.Generator, device: torch.device,
) -> Measurement:  # fmt: skip
    """One response to each prompt of ``rows``. Two calls with the same ``rng`` are a paired comparison."""
    scores, kls, tokens, prompts, responses = [], [], [], [], []
    terms: dict[str, list[Tensor]] = {}
    given: dict[str, list[Tensor]] = {}
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
            here = scored.given.get(name)
            given.setdefault(name, []).append(torch.ones(len(term), dtype=torch.bool) if here is None else here.cpu())
    return Measurement(
        torch.cat(scores),
        torch.cat(kls),
        torch.cat(tokens),
        {n: torch.cat(t) for n, t in terms.items()},
        prompts,
        responses,
        table.heldout_is_separate,
        {n: torch.cat(t) for n, t in given.items()},
    )


def given_means(terms: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, float]:
    """The mean of each term over the responses that it does not abstain from; none of one that abstains from all."""
    chosen = {name: term if name not in given else term[given[name].to(term.device)] for name, term in terms.items()}
    return {name: float(term.mean()) for name, term in chosen.items() if len(term)}


def given_row(terms: Mapping[str, Tensor], given: Mapping[str, Tensor], i: int) -> dict[str, float | None]:
    """The value of each term for response ``i``; None where it abstains."""
    return {name: float(term[i]) if name not in given or bool(given[name][i]) else None for name, term in terms.items()}


def comparison(before: Measurement, after: Measurement) -> dict[str, Any]:
    """The result for ``run.json``: two measurements on the same prompts, with 95 % intervals paired by prompt."""
    return {
        "n": len(before.score),
        "heldout": before.apart,
        "before": _means(before),
        "after": _means(after),
        "difference": {
            "score": _difference(before.score, after.score),
            "terms": dict(_term_differences(before, after)),
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
        "terms": given_row(measurement.terms, measurement.given, i),
        "kl": float(measurement.kl[i]) if bool(measurement.kl[i].isfinite()) else None,
        "tokens": int(measurement.tokens[i]),
    }


def score_gain(one: Measurement, other: Measurement) -> Tensor:
    """How much higher the score of ``one`` is, (N,), by prompt."""
    return one.score - other.score


def _means(measurement: Measurement) -> dict[str, Any]:
    terms = given_means(measurement.terms, measurement.given)
    return {"score": float(measurement.score.mean()), "kl": float(measurement.kl.mean()), "terms": terms}


def _term_differences(before: Measurement, after: Measurement) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each term, over the prompts where it abstains from neither response; none without such a prompt."""
    for name, old in before.terms.items():
        both = torch.ones(len(old), dtype=torch.bool)
        for measurement in (before, after):
            both = both & measurement.given.get(name, both)
        if bool(both.any()):
            yield name, _difference(old[both], after.terms[name][both])


def _difference(before: Tensor, after: Tensor) -> dict[str, Any]:
    mean, low, high = mean_interval(after - before)
    return {"mean": mean, "interval": [low, high] if len(before) > 1 else None}
