"""Observing training: metrics, held-out measurements, samples. Changes no byte of training."""

import math
from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from rlnlp.config.schema import OnPolicyRun
from rlnlp.data.prompts import PromptTable
from rlnlp.evaluate.health import Health
from rlnlp.evaluate.measure import Measurement, given_means, given_row
from rlnlp.maths.advantages import equal_groups
from rlnlp.run.run import Run
from rlnlp.types import Rollout, Scores, Texts


class Observing(Protocol):
    """What is called once a step with the rollout and its figures, and returns those for the log."""

    def __call__(
        self, step: int, rollout: Rollout, scores: Scores, kl: Tensor, metrics: dict[str, float]
    ) -> dict[str, float]:
        """``metrics`` for the log, with those of held-out prompts when they are due. ``kl`` is per token, (B, T)."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The state, as JSON."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        ...


class Observer:
    """Called once a step: checks health, writes samples, and measures on held-out prompts when that is due."""

    def __init__(self, config: OnPolicyRun, table: PromptTable, measure: Callable[[], Measurement], run: Run) -> None:
        self.every, self.samples = config.heldout.every, config.samples
        self.table, self.measure, self.run = table, measure, run
        self.health = Health(run.log_message, config)

    def state_dict(self) -> dict[str, Any]:
        """The state, as JSON."""
        return self.health.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.health.load_state_dict(state)

    def __call__(
        self, step: int, rollout: Rollout, scores: Scores, kl: Tensor, metrics: dict[str, float]
    ) -> dict[str, float]:
        """``metrics`` for the log, with those of held-out prompts when they are due."""
        if all(map(math.isfinite, metrics.values())):
            self.health(metrics)
        if self.run.due(self.samples.every, step):
            self.run.sample(step, sample_rows(self.table.texts(rollout), scores, kl), self.samples.show)
        if not self.run.due(self.every, step):
            return metrics
        heldout = self.measure()
        return {**metrics, "heldout/score": float(heldout.score.mean()), "heldout/kl": float(heldout.kl.mean())}


def rollout_metrics(rollout: Rollout, scores: Scores, kl: Tensor, group: int) -> dict[str, float]:
    """The metrics of a rollout. ``kl`` is k1 per token, (B, T); ``group`` responses belong to one prompt."""
    distinct = {
        tuple(row[mask].tolist()) for row, mask in zip(rollout.responses.cpu(), rollout.mask.cpu(), strict=True)
    }
    return {
        "score": float(scores.score.mean()),
        **{f"score/{name}": mean for name, mean in given_means(scores.terms, scores.given).items()},
        "kl": float(kl.sum(1).mean()),
        "response_tokens": float(rollout.mask.sum(1).float().mean()),
        "ended": float(rollout.ended.float().mean()),
        "unique": len(distinct) / len(rollout.responses),
        "score_std": float(scores.score.std(correction=0)),
        **({"equal_groups": float(equal_groups(scores.score, group).float().mean())} if group > 1 else {}),
    }


def sample_rows(texts: Texts, scores: Scores, kl: Tensor) -> list[dict[str, Any]]:
    """A record for each response, for samples.jsonl."""
    return [
        {
            "prompt": texts.prompts[i],
            "response": texts.completions[i],
            "score": float(scores.score[i]),
            "terms": given_row(scores.terms, scores.given, i),
            "kl": float(kl[i].sum()),
            **({"messages": texts.messages[i]} if texts.spoken[i] else {}),
        }
        for i in range(len(texts.prompts))
    ]
