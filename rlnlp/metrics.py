"""What each figure of metrics.jsonl means; README's table is made from this one."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """Figures that share a line of the table, and what of them is healthy."""

    names: tuple[str, ...]
    formula: str
    unit: str = ""
    healthy: str = ""
    only: str = ""  # the algorithm, where one alone has it

    def record(self) -> dict[str, Any]:
        """All of it as plain data, for programs."""
        return {"metrics": list(self.names), "formula": self.formula, "unit": self.unit, "healthy": self.healthy}


METRICS = (
    Metric(("score", "score/<term>"), "mean over the responses of the step", "the reward's", "rising"),
    Metric(("score_deviation",), "standard deviation of the score over them", "the reward's", "not 0"),
    Metric(("heldout/score", "heldout/kl"), "the same on held-out prompts", healthy="rising with `score`"),
    Metric(("kl",), "mean over responses of sum_t log pi - log ref", "nats per response", "0 to 10"),
    Metric(
        ("entropy",), "mean of -sum_a p log p where tokens were drawn", "nats per token", "falling slowly, not to 0"
    ),
    Metric(("policy_loss",), "what the gradient was taken of; says little by itself", healthy="around 0"),
    Metric(("approx_kl",), "mean of (log pi - log pi_old)^2 / 2", "nats per token", "0.0001 to 0.1", only="ppo"),
    Metric(("ratio",), "mean of pi / pi_old", healthy="near 1", only="ppo"),
    Metric(("clip_fraction",), "share of tokens where the clipped term decides", healthy="0 to 0.3", only="ppo"),
    Metric(
        ("value_loss", "value_clip_fraction"),
        "mean of max((V - R)^2, clipped) / 2; share clipped",
        healthy="falling",
        only="ppo",
    ),
    Metric(("explained_variance",), "1 - Var(R - V) / Var(R) before the updates", healthy="rising above 0", only="ppo"),
    Metric(("updates",), "optimizer steps; fewer than the schedule's if `target_kl` stopped them", only="ppo"),
    Metric(
        ("sampling_mismatch",),
        "mean of log p as drawn - log p as scored; only with a filter",
        "nats per token",
        "near 0",
        only="ppo",
    ),
    Metric(("loss",), "mean of -log pi; `heldout/loss` on held-out texts", "nats per token", "falling", only="sft"),
    Metric(("grad_norm", "critic_grad_norm"), "before clipping", healthy="finite, no steady growth"),
    Metric(("response_tokens",), "mean length, end token included", "tokens"),
    Metric(("ended",), "share of responses that reached the end token"),
    Metric(("unique",), "share of distinct responses", healthy="near 1"),
    Metric(
        ("equal_groups",),
        "share of prompts whose responses all score the same: they teach nothing",
        healthy="near 0",
    ),
    Metric(("skipped",), "steps so far without an update because a figure was not finite; only then", healthy="absent"),
    Metric(("learning_rate", "kl_coef", "episodes"), "in force; responses so far"),
)


def find_metric(word: str) -> Metric | None:
    """The line that tells of ``word``; ``score/polite`` is told of by ``score/<term>``."""
    if word.startswith("score/"):
        word = "score/<term>"
    for metric in METRICS:
        if word in metric.names or word.removeprefix("heldout/") in metric.names:
            return metric
    return None


def metric_rows() -> list[list[str]]:
    """The cells of README's table, a header first."""
    rows = [["name", "formula", "unit", "healthy"]]
    for metric in METRICS:
        name = ", ".join(f"`{n}`" for n in metric.names) + (f" ({metric.only})" if metric.only else "")
        rows.append([name, metric.formula, metric.unit, metric.healthy])
    return rows
