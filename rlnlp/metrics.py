"""The metrics of a run, one table: names, formula, unit, healthy range, who logs them and where they are shown.

The loops log these names. The live display, the curves, the health checks, ``rlnlp explain`` and the guide read them
from here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TERM = "score/<term>"  # one name for each term of the reward
ON_POLICY = ("reinforce", "ppo")
ALL = ("sft", *ON_POLICY)


@dataclass(frozen=True)
class Metric:
    """A metric, or several that share a formula.

    ``low`` to ``high`` is the healthy range, ``trend`` adds what the numbers do not cover. ``panel`` is the title of
    the metric's panel in ``curves.png``, ``live`` the position of its names in the live display.
    """

    names: tuple[str, ...]
    formula: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    trend: str = ""
    of_first: bool = False  # low and high are fractions of the metric's first value
    algorithms: tuple[str, ...] = ALL
    panel: str = ""
    live: Mapping[str, int] = field(default_factory=dict)

    @property
    def healthy(self) -> str:
        """The healthy range and the trend in words."""
        return ", ".join(part for part in (self._bounds(), self.trend) if part)

    def record(self) -> dict[str, Any]:
        """The row as plain data, for programs."""
        return {
            "metrics": list(self.names), "formula": self.formula, "unit": self.unit, "healthy": self.healthy,
            "algorithms": list(self.algorithms),
        }  # fmt: skip

    def _bounds(self) -> str:
        if not math.isfinite(self.low) and not math.isfinite(self.high):
            return ""
        low, high = (f"{value:g}".replace("e-0", "e-") for value in (self.low, self.high))
        bounds = f"{low} to {high}" if math.isfinite(self.low) else f"below {high}"
        bounds = bounds if math.isfinite(self.high) else f"above {low}"
        return f"{bounds} of its first value" if self.of_first else bounds


METRICS = (
    Metric(
        ("score", "heldout/score", TERM),
        "mean over the responses of the step; `heldout/score` on held-out prompts, `score/<term>` of each reward term",
        "the reward's", trend="rising", algorithms=ON_POLICY, panel="score", live={"score": 1, "heldout/score": 5},
    ),
    Metric(
        ("score_std",), "standard deviation of the score over the responses of the step", "the reward's", low=0,
        algorithms=ON_POLICY,
    ),
    Metric(
        ("kl", "heldout/kl"),
        "mean over responses of sum_t log pi - log ref; `heldout/kl` on held-out prompts", "nats per response",
        low=0, high=10, algorithms=ON_POLICY, panel="KL to the start, nats per response", live={"kl": 2},
    ),
    Metric(
        ("entropy",), "mean of -sum_a p log p where tokens were drawn", "nats per token", low=0.1, of_first=True,
        trend="falling slowly", panel="entropy, nats per token", live={"entropy": 3},
    ),
    Metric(
        ("loss", "heldout/loss"), "mean of -log pi; `heldout/loss` on held-out texts", "nats per token",
        trend="falling", algorithms=("sft",), panel="loss, nats per token", live={"loss": 4},
    ),
    Metric(
        ("policy_loss",), "the loss whose gradient is taken; not informative alone", trend="around 0",
        algorithms=ON_POLICY,
    ),
    Metric(
        ("approx_kl",), "mean of (log pi - log pi_old)^2 / 2", "nats per token", low=1e-8, high=0.1,
        algorithms=("ppo",),
    ),
    Metric(("ratio",), "mean of pi / pi_old", low=0.5, high=2, trend="near 1", algorithms=("ppo",)),
    Metric(
        ("clip_fraction",), "fraction of tokens where the clipped term decides", low=0, high=0.3, algorithms=("ppo",)
    ),
    Metric(
        ("value_loss", "value_clip_fraction"), "mean of max((V - R)^2, clipped) / 2; fraction clipped",
        trend="falling", algorithms=("ppo",),
    ),
    Metric(
        ("explained_variance",), "1 - Var(R - V) / Var(R) before the updates", low=-0.1, trend="rising",
        algorithms=("ppo",),
    ),
    Metric(
        ("updates",), "optimizer steps; fewer than the schedule's if `target_kl` stopped them", algorithms=("ppo",)
    ),
    Metric(
        ("sampling_mismatch",), "mean of log p as drawn - log p as scored; only with a filter", "nats per token",
        trend="near 0", algorithms=("ppo",),
    ),
    Metric(
        ("response_tokens",), "mean length, end token included", "tokens", low=0.1, of_first=True, algorithms=ON_POLICY,
        panel="response length, tokens", live={"response_tokens": 7},
    ),
    Metric(
        ("ended",), "fraction of responses that reached the end token", algorithms=ON_POLICY, live={"ended": 8}
    ),
    Metric(
        ("unique",), "fraction of distinct responses", low=0.25, trend="times `num_generations`; near 1",
        algorithms=ON_POLICY,
        live={"unique": 9},
    ),
    Metric(
        ("equal_groups",), "fraction of prompts whose responses all score the same: they teach nothing",
        trend="near 0", algorithms=ON_POLICY,
    ),
    Metric(
        ("grad_norm",), "norm of the gradient before clipping", trend="finite, no steady growth",
        panel="gradient norm", live={"grad_norm": 6},
    ),
    Metric(
        ("critic_grad_norm",), "the same of a separate critic", trend="finite, no steady growth", algorithms=("ppo",)
    ),
    Metric(("learning_rate",), "in force in the step", live={"learning_rate": 10}),
    Metric(("kl_coef",), "in force in the step", algorithms=ON_POLICY),
    Metric(("episodes",), "responses so far (texts, for sft)"),
    Metric(
        ("skipped",), "steps so far without an update because a metric was not finite; only then", trend="absent"
    ),
)  # fmt: skip
BY_NAME = {name: metric for metric in METRICS for name in metric.names}
LIVE = tuple(sorted((n for m in METRICS for n in m.live), key=lambda name: BY_NAME[name].live[name]))


def find_metric(name: str) -> Metric | None:
    """The row of ``name``; that of ``score/<term>`` for ``score/polite``."""
    return BY_NAME.get(name, BY_NAME[TERM] if name.startswith("score/") else None)


def panels() -> list[Metric]:
    """The rows that have a panel in ``curves.png``, in order."""
    return [metric for metric in METRICS if metric.panel]


def metric_rows() -> list[list[str]]:
    """The cells of the guide's table, a header first."""
    rows = [["name", "formula", "unit", "healthy", "algorithms"]]
    for metric in METRICS:
        names = ", ".join(f"`{name}`" for name in metric.names)
        algorithms = "all" if metric.algorithms == ALL else ", ".join(metric.algorithms)
        rows.append([names, metric.formula, metric.unit, metric.healthy, algorithms])
    return rows
