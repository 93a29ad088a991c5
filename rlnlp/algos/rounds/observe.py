"""Observing the policy's optimization in a round: health, samples, and held-out rewards by the model and by gold."""

import math
from typing import Any

import numpy as np
from torch import Tensor

from rlnlp.algos.observe import sample_rows
from rlnlp.algos.rounds.draws import Draws, heldout_draws
from rlnlp.algos.rounds.state import Rounds
from rlnlp.algos.setup import OnPolicySetup
from rlnlp.config.measuring import every_in
from rlnlp.config.rounds_text import has_gold
from rlnlp.config.schema import RlhfRun
from rlnlp.evaluate.health import Health
from rlnlp.maths.resampling import Values
from rlnlp.rewards.model.learned import ScoreTexts
from rlnlp.run.run import Run
from rlnlp.types import Rollout, Scores


class RoundObserver:
    """Called once a step of the policy. ``first`` are the first policy's responses to the held-out prompts.

    In the first round, whose reward model belongs to the first policy, it keeps the gains of each held-out prompt.
    """

    def __init__(
        self, config: RlhfRun, setup: OnPolicySetup, scores: ScoreTexts, first: Draws, rounds: Rounds, run: Run
    ) -> None:
        self.every, self.samples = config.heldout.every, config.samples
        self.setup, self.scores, self.first, self.rounds, self.run = setup, scores, first, rounds, run
        self.gold = has_gold(config)
        self.health = Health(run.log_message, config)
        self.round = self.before = 0
        self.first_rewards: Values = np.empty(0)

    def state_dict(self) -> dict[str, Any]:
        """The state, as JSON."""
        return self.health.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.health.load_state_dict(state)

    def begin(self, round: int, before: int) -> None:
        """The policy's steps of ``round`` come after step ``before`` of the run; its reward model is fitted."""
        self.round, self.before = round, before
        if round == 1 and self.every:
            self.first_rewards = self.first.first().rewards(self.scores)

    def __call__(
        self, step: int, rollout: Rollout, scores: Scores, kl: Tensor, metrics: dict[str, float]
    ) -> dict[str, float]:
        """``metrics`` for the log, with those of held-out prompts when they are due."""
        if all(map(math.isfinite, metrics.values())):
            self.health(metrics)
        if self.run.due(self.samples.every, self.before + step):
            rows = sample_rows(self.setup.table.texts(rollout), scores, kl)
            self.run.sample(self.before + step, rows, self.samples.show)
        if not self.run.due(every_in(self.round, self.every or 0), step):
            return metrics
        draws = heldout_draws(self.setup, self.setup.collect, self.setup.kl, self.numbers, 1)
        rewards = draws.rewards(self.scores)
        if self.round == 1:
            gains = rewards - self.first_rewards, draws.gold - self.first.first().gold
            self.rounds.points.append({
                "step": self.before + step, "kl": float(draws.kl.mean()), "reward": gains[0][:, 0].tolist(),
                "gold": gains[1][:, 0].tolist(),
            })  # fmt: skip
        gold = {"gold": draws.gold} if self.gold else {}
        means = {"reward": rewards, **gold, "kl": draws.kl, "response_tokens": draws.tokens}
        return {**metrics, **{f"heldout/{name}": float(values.mean()) for name, values in means.items()}}

    def numbers(self, draw: int) -> np.random.Generator:
        """The numbers of a draw, the same for every policy: a paired comparison."""
        return self.run.rng("heldout", draw)
