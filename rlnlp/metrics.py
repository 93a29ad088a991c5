"""The metrics of a run, one table: names, formula, unit, healthy range, who logs them and where they are shown.

The loops log these names. The live display, the curves, the health checks, ``rlnlp explain`` and the guide read them
from here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

TERM = "score/<term>"  # one name for each term of the reward
ON_POLICY = ("reinforce", "ppo", "rlhf")
OF_FITS = ("reward-model", "rlhf")
OF_PPO = ("ppo", "rlhf")
ALL = ("sft", "reward-model", *ON_POLICY)


@dataclass(frozen=True)
class Metric:
    """A metric, or several that share a formula.

    ``low`` to ``high`` is the healthy range, ``trend`` adds what the numbers do not cover. ``label`` is the first name
    in words, ``panel`` the title of the metric's panel in ``curves.png``. ``live`` is the position of its names in the
    live display, ``curve`` that of the first name's curve there.
    """

    names: tuple[str, ...]
    formula: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    trend: str = ""
    of_first: bool = False  # low and high are fractions of the metric's first value
    algorithms: tuple[str, ...] = ALL
    label: str = ""
    panel: str = ""
    curve: int = 0
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
        "the reward's", trend="rising", algorithms=ON_POLICY, label="score", panel="score", curve=1,
        live={"score": 1, "heldout/score": 6},
    ),
    Metric(
        ("heldout/reward",), "mean score of the round's reward model on held-out prompts", "the reward model's",
        trend="rising", algorithms=("rlhf",), label="reward", panel="score", live={"heldout/reward": 8},
    ),
    Metric(
        ("heldout/gold",), "mean gold reward of responses to held-out prompts", "the gold reward's", trend="rising",
        algorithms=("rlhf",), label="gold reward", panel="gold reward", live={"heldout/gold": 9},
    ),
    Metric(
        ("score_std",), "standard deviation of the score over the responses of the step", "the reward's", low=0,
        algorithms=ON_POLICY, label="score, standard dev.", live={"score_std": 21},
    ),
    Metric(
        ("kl", "heldout/kl"),
        "mean over responses of sum_t log pi - log ref; `heldout/kl` on held-out prompts", "nats per response",
        low=0, high=10, algorithms=ON_POLICY, label="KL to the start", panel="KL to the start, nats per response",
        curve=2, live={"kl": 2, "heldout/kl": 19},
    ),
    Metric(
        ("entropy",), "mean of -sum_a p log p where tokens were drawn", "nats per token", low=0.1, of_first=True,
        trend="falling slowly", algorithms=("sft", *ON_POLICY), label="entropy per token",
        panel="entropy, nats per token", live={"entropy": 3},
    ),
    Metric(
        ("loss", "heldout/loss"),
        "sft: mean of -log pi per token; reward-model: of a row's pairs, cross-entropy of the labels with P(chosen), or"
        " (score - rating)^2; `heldout/loss` on held-out data", "nats", trend="falling",
        algorithms=("sft", *OF_FITS), label="loss", panel="loss", curve=1, live={"loss": 4, "heldout/loss": 7},
    ),
    Metric(
        ("accuracy", "heldout/accuracy"),
        "fraction of decided pairs whose preferred answer scores higher; `heldout/accuracy` of held-out pairs",
        low=0.5, trend="rising; the held-out one with it", algorithms=OF_FITS, label="accuracy",
        panel="accuracy", curve=2, live={"accuracy": 5, "heldout/accuracy": 10},
    ),
    Metric(
        ("margin",), "mean score of the preferred answers less that of the others, before normalization",
        trend="rising", algorithms=OF_FITS, label="margin", live={"margin": 26},
    ),
    Metric(
        ("policy_loss",), "the loss whose gradient is taken; not informative alone", trend="around 0",
        algorithms=ON_POLICY,
    ),
    Metric(
        ("ptx_loss",), "mean of -log pi over the tokens of `data.texts` in the updates; only with `ptx_coef`",
        "nats per token", trend="no rise", algorithms=("rlhf",), label="loss on texts", live={"ptx_loss": 28},
    ),
    Metric(
        ("approx_kl",), "mean of (log pi - log pi_old)^2 / 2", "nats per token", low=1e-8, high=0.1,
        algorithms=OF_PPO, label="approx. KL of updates", panel="approx. KL of the updates, nats per token",
        live={"approx_kl": 17},
    ),
    Metric(("ratio",), "mean of pi / pi_old", low=0.5, high=2, trend="near 1", algorithms=OF_PPO),
    Metric(
        ("clip_fraction",), "fraction of tokens where the clipped term decides", low=0, high=0.3, algorithms=OF_PPO,
        label="clipped tokens", panel="clip fraction", live={"clip_fraction": 12},
    ),
    Metric(
        ("value_loss", "value_clip_fraction"), "mean of max((V - R)^2, clipped) / 2; fraction clipped",
        trend="falling", algorithms=OF_PPO, label="value loss", live={"value_loss": 22},
    ),
    Metric(
        ("explained_variance",), "1 - Var(R - V) / Var(R) before the updates", low=-0.1, trend="rising",
        algorithms=OF_PPO, label="explained variance", panel="explained variance", live={"explained_variance": 11},
    ),
    Metric(
        ("updates",), "optimizer steps; fewer than the schedule's if `target_kl` stopped them", algorithms=OF_PPO
    ),
    Metric(
        ("sampling_mismatch",), "mean of log p as drawn - log p as scored; only with a filter", "nats per token",
        trend="near 0", algorithms=OF_PPO, label="sampling mismatch", live={"sampling_mismatch": 25},
    ),
    Metric(
        ("response_tokens",), "mean length, end token included", "tokens", low=0.1, of_first=True, algorithms=ON_POLICY,
        label="response length", panel="response length, tokens", live={"response_tokens": 13},
    ),
    Metric(
        ("heldout/response_tokens",), "the same on held-out prompts", "tokens", algorithms=("rlhf",),
        label="response length", panel="response length, tokens", live={"heldout/response_tokens": 27},
    ),
    Metric(
        ("ended",), "fraction of responses that reached the end token", algorithms=ON_POLICY,
        label="responses that ended", live={"ended": 14},
    ),
    Metric(
        ("unique",), "fraction of distinct responses", low=0.25, trend="times `num_generations`; near 1",
        algorithms=ON_POLICY, label="distinct responses", live={"unique": 15},
    ),
    Metric(
        ("equal_groups",), "fraction of prompts whose responses all score the same: they teach nothing",
        trend="near 0", algorithms=ON_POLICY, label="groups of equal score", live={"equal_groups": 24},
    ),
    Metric(
        ("grad_norm",), "norm of the gradient before clipping", trend="finite, no steady growth",
        label="gradient norm", panel="gradient norm", live={"grad_norm": 16},
    ),
    Metric(
        ("critic_grad_norm",), "the same of a separate critic", trend="finite, no steady growth", algorithms=OF_PPO,
        label="critic gradient norm", live={"critic_grad_norm": 23},
    ),
    Metric(("learning_rate",), "in force in the step", label="learning rate", live={"learning_rate": 18}),
    Metric(("kl_coef",), "in force in the step", algorithms=ON_POLICY, label="KL coefficient", live={"kl_coef": 20}),
    Metric(("episodes",), "responses so far (texts, for sft and reward-model; for rlhf both)"),
    Metric(
        ("round", "stage"), "the round, and whether the step fits the `reward-model` or optimizes the `policy`",
        algorithms=("rlhf",),
    ),
    Metric(
        ("skipped",), "steps so far without an update because a metric was not finite; only then", trend="absent"
    ),
)  # fmt: skip
BY_NAME = {name: metric for metric in METRICS for name in metric.names}
CURVES = tuple(metric.names[0] for metric in sorted(METRICS, key=lambda metric: metric.curve) if metric.curve)
LIVE = tuple(sorted((n for m in METRICS for n in m.live), key=lambda name: BY_NAME[name].live[name]))


def find_metric(name: str) -> Metric | None:
    """The row of ``name``; that of ``score/<term>`` for ``score/polite``."""
    return BY_NAME.get(name, BY_NAME[TERM] if name.startswith("score/") else None)


def label(name: str) -> str:
    """A metric in words; a reward term by its own name."""
    if name.startswith("score/"):
        return name.removeprefix("score/")
    metric, plain = BY_NAME[name], name.removeprefix("heldout/")
    words = metric.label if plain == metric.names[0].removeprefix("heldout/") else plain
    return f"held-out {words}" if plain != name else words or name


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value's neighbors: up to a twentieth of the series, and ten values, on each side of it."""
    reach = min(10, len(values) // 20)
    windows = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def change(values: Sequence[float]) -> float:
    """By how much a series has changed: the mean of its last values less that of its first, up to ten of each."""
    width = max(1, min(10, len(values) // 4))
    return (sum(values[-width:]) - sum(values[:width])) / width


def panels() -> list[Metric]:
    """The rows that have a panel in ``curves.png``, in order: first those with a curve in the live display.

    Rows that share a panel are one, with the names of them all.
    """
    by_title: dict[str, list[Metric]] = {}
    for metric in sorted((m for m in METRICS if m.panel), key=lambda metric: metric.curve or len(METRICS)):
        by_title.setdefault(metric.panel, []).append(metric)
    return [replace(rows[0], names=tuple(n for row in rows for n in row.names)) for rows in by_title.values()]


def metric_rows() -> list[list[str]]:
    """The cells of the guide's table, a header first."""
    rows = [["name", "formula", "unit", "healthy", "algorithms"]]
    for metric in METRICS:
        names = ", ".join(f"`{name}`" for name in metric.names)
        algorithms = "all" if metric.algorithms == ALL else ", ".join(metric.algorithms)
        rows.append([names, metric.formula, metric.unit, metric.healthy, algorithms])
    return rows
