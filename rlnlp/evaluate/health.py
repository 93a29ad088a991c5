"""What is wrong with a run, by its metrics: each finding comes with the setting to try."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rlnlp.metrics import BY_NAME

WINDOW = 10  # steps over which a metric is averaged before it is compared with its healthy range
KL_NOISE = 0.5  # nats per response: an estimate of a small KL from samples may be this far below 0
STD_ROUNDING = 1e-6  # of the score: the standard deviation of equal scores is 0 only up to rounding
RENAMED = {"score_deviation": "score_std"}  # in checkpoints of version 0.1

Row = Mapping[str, float]


class Health:
    """Watches the metrics of each step: warns the first time that a finding holds, and knows which hold at the end."""

    def __init__(self, log_message: Callable[[str], None]) -> None:
        self.log_message = log_message
        self.recent: deque[Row] = deque(maxlen=WINDOW)
        self.first: Row = {}  # the first value of each metric
        self.current: dict[str, str] = {}
        self.warned: list[str] = []

    def __call__(self, row: Row) -> None:
        """Add the metrics of a step."""
        self.first = {**row, **self.first}  # of each metric: while only the critic learns there is no entropy
        self.recent.append(row)
        if len(self.recent) < WINDOW:
            return
        names = set.intersection(*(set(row) for row in self.recent))
        mean = {name: sum(row[name] for row in self.recent) / WINDOW for name in names}
        found = dict(findings(mean, self.first))
        for name in [name for name in found if name not in self.warned]:
            self.log_message(f"warning: {found[name]}")
            self.warned.append(name)
        self.current = found

    def verdict(self) -> dict[str, str]:
        """The findings that held at the end, by name."""
        return dict(self.current)

    def state_dict(self) -> dict[str, Any]:
        """The state, as JSON."""
        return {  # the keys are those of version 0.1
            "first": dict(self.first),
            "recent": [dict(row) for row in self.recent],
            "now": self.current,
            "told": self.warned,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.first, self.current, self.warned = _renamed(state["first"]), state["now"], state["told"]
        self.recent = deque(map(_renamed, state["recent"]), maxlen=WINDOW)


def findings(mean: Row, first: Row) -> Iterator[tuple[str, str]]:
    """Name and text of each finding in ``mean``, the metrics of the last steps; ``first`` has the first of each."""
    if "kl" in mean and mean["kl"] > BY_NAME["kl"].high:
        healthy = BY_NAME["kl"].healthy
        yield "kl", f"KL is {mean['kl']:.1f} nats per response (healthy: {healthy}): raise algo.kl_coef"
    if "kl" in mean and mean["kl"] < BY_NAME["kl"].low - KL_NOISE:
        yield (
            "kl",
            f"the KL estimate is {mean['kl']:.1f}: the responses are not drawn from the scored distribution;"
            " try sampler.top_k=0 sampler.top_p=1",
        )
    constant = "score_std" in mean and (
        mean["score_std"] <= BY_NAME["score_std"].low + STD_ROUNDING * max(1.0, abs(mean["score"]))
    )
    if constant:
        yield (
            "reward",
            f"every response scores {mean['score']:.3g}: there is nothing left to learn;"
            " if that is not the best score, look at reward.terms and raise sampler.temperature",
        )
    else:
        yield from _updates(mean)
    if "entropy" in mean and mean["entropy"] < BY_NAME["entropy"].low * first["entropy"]:
        yield (
            "entropy",
            f"entropy fell from {first['entropy']:.2f} to {mean['entropy']:.2f} nats per token:"
            " raise algo.kl_coef or algo.entropy_coef, or lower algo.learning_rate",
        )
    if "unique" in mean and mean["unique"] < BY_NAME["unique"].low:
        yield (
            "unique",
            f"{1 - mean['unique']:.0%} of the responses repeat another one:"
            " raise sampler.temperature, algo.kl_coef or algo.entropy_coef",
        )


def _updates(mean: Row) -> Iterator[tuple[str, str]]:
    """Findings about what the updates do: there is nothing to do where every score is the same."""
    if "clip_fraction" in mean and mean["clip_fraction"] > BY_NAME["clip_fraction"].high:
        yield (
            "clip",
            f"{mean['clip_fraction']:.0%} of the tokens are clipped (healthy: {BY_NAME['clip_fraction'].healthy}):"
            " lower algo.learning_rate or algo.ppo_epochs, or set algo.target_kl",
        )
    if "approx_kl" in mean and mean["approx_kl"] < BY_NAME["approx_kl"].low and mean["learning_rate"] > 0:
        yield "clip", "the updates do not move the policy: raise algo.learning_rate"
    if "explained_variance" in mean and mean["explained_variance"] < BY_NAME["explained_variance"].low:
        yield (
            "critic",
            f"explained variance is {mean['explained_variance']:.2f}: the critic is worse than a constant;"
            " try a higher algo.critic_learning_rate, algo.critic_warmup_steps=10 or algo.critic=separate",
        )


def _renamed(row: Row) -> dict[str, float]:
    return {RENAMED.get(name, name): value for name, value in row.items()}
