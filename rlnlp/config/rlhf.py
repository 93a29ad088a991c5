"""The settings of the rounds of RLHF: what is asked, and how reward model and policy are fitted in each of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from rlnlp.config.algos import DRAW, Ppo, Reinforce
from rlnlp.config.reward_model import RewardModelFit
from rlnlp.config.setting import Problem, setting

OPTIMIZED = "length of the policy's optimization in each round"
PTX = "weight of the supervised loss on data.texts in each update (PPO-ptx)"


@dataclass(frozen=True)
class RewardModelStage(RewardModelFit):
    """The fit of the reward model in each round."""

    total_steps: int = setting(
        "length of the fit in each round", "steps", ge=1, resume="never",
        trl="max_steps, total_episodes", verl="trainer.total_training_steps",
    )  # fmt: skip
    model: str | None = setting(
        "what the reward model starts from: a directory or hub id; null means model.path", by_content=True
    )

    def problems(self) -> Iterator[Problem]:
        """Ratings, which are not asked for to learn from."""
        yield from super().problems()
        if self.loss != "preference":
            yield "loss", f"must be preference: rounds ask for comparisons, got {self.loss}"


def optimized_steps() -> Any:
    """The setting of how long the policy is optimized in a round."""
    return setting(
        OPTIMIZED, "steps", ge=1, resume="never",
        trl="max_steps, total_episodes", verl="trainer.total_training_steps",
    )  # fmt: skip


@dataclass(frozen=True)
class PpoStage(Ppo):
    """The optimization of the policy in each round, by PPO."""

    total_steps: int = optimized_steps()
    ptx_coef: float = setting(PTX, ge=0)


@dataclass(frozen=True)
class ReinforceStage(Reinforce):
    """The optimization of the policy in each round, by REINFORCE."""

    total_steps: int = optimized_steps()
    ptx_coef: float = setting(PTX, ge=0)


@dataclass(frozen=True)
class Rlhf:
    """Rounds of reinforcement learning from human feedback."""

    name: Literal["rlhf"] = setting("the algorithm", resume="never")
    rounds: int = setting("rounds of asking, fitting and optimizing", "rounds", ge=1, resume="free")
    prompts_per_round: int = setting("prompts that responses are drawn to for comparison in each round", ge=1)
    num_generations: int = setting("responses per prompt that a pair is chosen from", ge=2)
    selection: Literal["random", "disagreement"] = setting(
        "which pairs are asked about: at random, or where the members of the last reward model disagree most"
    )
    decay: float = setting(
        "weight of a judgement for each round that it is older, before scaling to mean 1", ge=0, le=1
    )
    kl_budget: float | None = setting(
        "a round ends when the KL to the first policy passes this; null means never", "nats per response", gt=0
    )
    reward_model: RewardModelStage = setting("the fit of the reward model in each round")
    policy: PpoStage | ReinforceStage = setting("the optimization of the policy in each round")

    @property
    def round_steps(self) -> int:
        """Steps of a round."""
        return self.reward_model.total_steps + self.policy.total_steps

    @property
    def total_steps(self) -> int:
        """Steps of all rounds: fits and optimization."""
        return self.rounds * self.round_steps

    @property
    def micro_batch_size(self) -> int:
        """Responses in memory at once."""
        return self.policy.micro_batch_size

    @property
    def round_cost(self) -> float:
        """The cost of a round over that of measuring a response, which is drawn and read by all three models."""
        fit = 0.0 if self.reward_model.frozen_trunk else self.reward_model.relative_cost
        passes = [
            self.prompts_per_round * self.num_generations * DRAW,
            self.reward_model.total_steps * self.reward_model.responses * fit,
            self.policy.total_steps * self.policy.responses * (self.policy.relative_cost * (DRAW + 2) + 1),
        ]
        return sum(passes) / (DRAW + 3)

    def problems(self) -> Iterator[Problem]:
        """An ensemble of one, which cannot disagree."""
        if self.selection == "disagreement" and self.reward_model.ensemble_size < 2:
            yield "reward_model.ensemble_size", "must be >= 2 with algo.selection=disagreement"
