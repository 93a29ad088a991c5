"""What is wrong with a run, read off its figures: each finding with the setting to try."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

WINDOW = 10  # steps over which a figure is averaged before it is make_experience

Figures = Mapping[str, float]


class Health:
    """Watches the figures of each step; says a finding the first time it holds, and at the end what holds then."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.recent: deque[Figures] = deque(maxlen=WINDOW)
        self.first: Figures = {}  # the first value of each figure
        self.now: dict[str, str] = {}
        self.told: list[str] = []

    def __call__(self, figures: Figures) -> None:
        """Take in the figures of a step."""
        self.first = {**figures, **self.first}  # of each figure: while only the critic learns there is no entropy
        self.recent.append(figures)
        if len(self.recent) < WINDOW:
            return
        names = set.intersection(*(set(row) for row in self.recent))
        mean = {name: sum(row[name] for row in self.recent) / WINDOW for name in names}
        found = dict(findings(mean, self.first))
        for name in [name for name in found if name not in self.told]:
            self.say(f"warning: {found[name]}")
            self.told.append(name)
        self.now = found

    def verdict(self) -> dict[str, str]:
        """What held at the end, by name."""
        return dict(self.now)

    def state_dict(self) -> dict[str, Any]:
        """The state, as JSON."""
        return {
            "first": dict(self.first),
            "recent": [dict(row) for row in self.recent],
            "now": self.now,
            "told": self.told,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state back."""
        self.first, self.now, self.told = state["first"], state["now"], state["told"]
        self.recent = deque(state["recent"], maxlen=WINDOW)


def findings(mean: Figures, first: Figures) -> Iterator[tuple[str, str]]:
    """Name and words of everything wrong with ``mean``, the latest figures; ``first`` are the first of each."""
    if "kl" in mean and mean["kl"] > 10:
        yield "kl", f"KL is {mean['kl']:.1f} nats per response (healthy: 0 to 10): raise algo.kl_coef"
    if "kl" in mean and mean["kl"] < -0.5:
        yield (
            "kl",
            (
                f"the KL estimate is {mean['kl']:.1f}: the responses are not drawn from the scored distribution;"
                " try sampler.top_k=0 sampler.top_p=1"
            ),
        )
    constant = "score_deviation" in mean and mean["score_deviation"] <= 1e-6 * max(1.0, abs(mean["score"]))
    if constant:
        yield (
            "reward",
            f"every response scores {mean['score']:.3g}: there is nothing left to learn;"
            " if that is not the best score, look at reward.terms and raise sampler.temperature",
        )
    if "clip_fraction" in mean and not constant:
        yield from _updates(mean)
    if "explained_variance" in mean and mean["explained_variance"] < -0.1 and not constant:
        yield (
            "critic",
            f"explained variance is {mean['explained_variance']:.2f}: the critic is worse than a constant;"
            " try a higher algo.critic_learning_rate, algo.critic_warmup_steps=10 or algo.critic=separate",
        )
    if "entropy" in mean and mean["entropy"] < 0.1 * first["entropy"]:
        yield (
            "entropy",
            (
                f"entropy fell from {first['entropy']:.2f} to {mean['entropy']:.2f} nats per token:"
                " raise algo.kl_coef or algo.entropy_coef, or lower algo.learning_rate"
            ),
        )
    if "unique" in mean and mean["unique"] < 0.25:
        yield (
            "unique",
            (
                f"{1 - mean['unique']:.0%} of the responses repeat another one:"
                " raise sampler.temperature, algo.kl_coef or algo.entropy_coef"
            ),
        )


def _updates(mean: Figures) -> Iterator[tuple[str, str]]:
    if mean["clip_fraction"] > 0.4:
        yield (
            "clip",
            (
                f"{mean['clip_fraction']:.0%} of the tokens are clipped (healthy: under 30 %):"
                " lower algo.learning_rate or algo.ppo_epochs, or set algo.target_kl"
            ),
        )
    if mean["approx_kl"] < 1e-8 and mean["learning_rate"] > 0:
        yield "clip", "the updates do not move the policy: raise algo.learning_rate"
