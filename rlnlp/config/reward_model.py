"""The settings of reward models: of a run that fits one, and what every fit needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rlnlp.config.algos import Optimization
from rlnlp.config.setting import ACTOR, Problem, setting

PAIRS = "pairs"  # algo.normalize_on: the answers that a reward model is fitted to
SHUFFLED = 0.25  # of the training prompts: what is fitted to with shuffled labels


@dataclass(frozen=True)
class RewardModelFit(Optimization):
    """How a reward model is fitted to answers that people judged."""

    name: Literal["reward-model"] = setting("the algorithm", resume="never")
    micro_batch_size: int | None = setting(  # type: ignore[assignment]  # here alone it may be left open
        "answers in memory at once, null means by the size of the model and their lengths; changes no result",
        "responses", ge=1, trl="per_device_train_batch_size", verl=f"{ACTOR}.ppo_micro_batch_size_per_gpu",
    )  # fmt: skip
    loss: Literal["preference", "regression"] = setting(
        "preference: the preferred answer of each pair scores higher (Bradley-Terry); regression: scores are ratings",
        resume="never",
    )  # fmt: skip
    label_noise: float = setting("fraction of labels taken to be drawn at random", ge=0, lt=1)
    centering_coef: float = setting(
        "weight of the squared sum of a pair's scores, which keeps their mean near 0", ge=0,
        trl="center_rewards_coefficient",
    )  # fmt: skip
    head: Literal["linear", "mlp"] = setting(
        "linear: on the last token, a model that transformers loads; mlp: three layers on the mean over the tokens",
        resume="never",
    )
    frozen_trunk: bool = setting("only the head learns, on features that are computed once", resume="never")
    ensemble_size: int = setting("members, each fitted to prompts drawn with replacement", ge=1, resume="never")
    ensemble: Literal["heads", "models"] = setting(
        "what a member is: a head on the same trunk, or a whole model", resume="never"
    )
    ensemble_score: Literal["mean", "minimum", "mean-minus-uncertainty"] = setting(
        "the score of an ensemble, of its members' normalized scores"
    )
    uncertainty_coef: float = setting(
        "standard deviations of the members that mean-minus-uncertainty takes off their mean", ge=0
    )

    @property
    def responses(self) -> int:
        """Responses of a step: two a row, about."""
        return 2 * self.batch_size

    def problems(self) -> Iterator[Problem]:
        """Members that are all the same."""
        yield from super().problems()
        if self.ensemble == "models" and self.frozen_trunk:
            yield "ensemble", "must be heads with algo.frozen_trunk=true: models with the same trunk are the same"


@dataclass(frozen=True)
class FitRewardModel(RewardModelFit):
    """A reward model, fitted to answers that people judged."""

    normalize_on: str = setting(
        "what scores 0 on average, with standard deviation 1: 'pairs' (the training answers), or a model's responses"
    )
    learning_curve: list[float] = setting(
        "further fits, to these fractions of the prompts: what more labels would buy; [] for none", gt=0, lt=1,
        resume="free",
    )  # fmt: skip
    shuffled_labels: bool = setting("a further fit, to labels drawn at random: what chance reaches", resume="free")
    folds: int = setting(
        "cross-validation: every row is scored by a model fitted to the other folds; 0 for none", ge=0, resume="free"
    )

    @property
    def further_steps(self) -> int:
        """Those of the learning curve, of shuffled labels and of the folds."""
        shuffled = SHUFFLED if self.shuffled_labels else 0
        return round(self.total_steps * (sum(self.learning_curve) + shuffled + max(0, self.folds - 1)))

    def problems(self) -> Iterator[Problem]:
        """One fold, which leaves nothing to fit to."""
        yield from super().problems()
        if self.folds == 1:
            yield "folds", "must be 0, or at least 2, got 1"
