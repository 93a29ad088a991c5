"""The settings of every command, by group; the values are in conf/."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import comb

from rlnlp.config.algos import OnPolicy, Ppo, Reinforce, Sft
from rlnlp.config.annotator import Annotator
from rlnlp.config.data import PreferenceData, PromptData, Reading, RlhfData, TextData
from rlnlp.config.model import Device, Model, Sampler
from rlnlp.config.observing import Checkpoint, Heldout, Samples
from rlnlp.config.reward import Reward
from rlnlp.config.reward_model import FitRewardModel
from rlnlp.config.rlhf import RewardModelStage, Rlhf
from rlnlp.config.setting import Problem, setting
from rlnlp.config.tracker import Tracker


@dataclass(frozen=True)
class Seeded:
    """Whatever draws."""

    seed: int = setting("every random stream is derived from it", ge=0, resume="never", trl="seed", verl="data.seed")


@dataclass(frozen=True)
class Common(Seeded):
    """The keys beside the groups."""

    checkpoint: Checkpoint = setting("saving")
    heldout: Heldout = setting("measuring")
    samples: Samples = setting("keeping responses")
    tracker: Tracker = setting("the metrics in a tracker too")

    @property
    def chosen_by_heldout(self) -> bool:
        """True if held-out data decide which weights are the result."""
        return self.checkpoint.result == "best" or self.heldout.patience > 0

    def problems(self) -> Iterator[Problem]:
        """What needs measurements where there are to be none."""
        wanted = {
            "checkpoint.result": self.checkpoint.result == "best",
            "checkpoint.keep_models": self.checkpoint.keep_models,
            "heldout.patience": self.heldout.patience,
        }
        for key in [key for key, value in wanted.items() if value] if self.heldout.every == 0 else []:
            yield key, "needs measurements in between: set heldout.every=N, or null for about ten"


def critic_problems(group: str, algo: Ppo, model: Model) -> Iterator[Problem]:
    """A critic that is an adapter, of a policy that is none; ``group`` has the settings ``algo``."""
    if algo.critic == "adapter" and not model.lora.on:
        yield f"{group}.critic", "'adapter' needs model.lora.rank=N: without it there is no base that both share"


@dataclass(frozen=True)
class SftRun(Common):
    """`rlnlp train algo=sft`."""

    algo: Sft = setting("the algorithm's settings")
    model: Model = setting("the language model")
    data: TextData = setting("the texts")
    sampler: Sampler = setting("drawing of samples to show")
    device: Device = setting("where to compute")


@dataclass(frozen=True)
class RewardModelRun(Common):
    """`rlnlp train algo=reward-model`."""

    algo: FitRewardModel = setting("the algorithm's settings")
    model: Model = setting("the model that scores are read from")
    data: PreferenceData = setting("the judged answers")
    sampler: Sampler = setting("drawing of responses, where algo.normalize_on is a model")
    device: Device = setting("where to compute")

    def problems(self) -> Iterator[Problem]:
        """Weights that would be rounded: a score is to be the same here and in transformers."""
        yield from super().problems()
        if self.model.save_dtype != "float32":
            yield "model.save_dtype", f"must be float32 for a reward model, got {self.model.save_dtype!r}"
        if self.model.lora.on:
            less = "all weights of a reward model learn, or its head alone with algo.frozen_trunk=true"
            yield "model.lora.rank", f"must be null: {less}, got {self.model.lora.rank}"


@dataclass(frozen=True)
class OnPolicyRun(Common):
    """What reinforce and ppo run on."""

    algo: OnPolicy = setting("the algorithm's settings")
    model: Model = setting("the language model")
    data: PromptData = setting("the prompts")
    sampler: Sampler = setting("drawing of responses")
    reward: Reward = setting("what is rewarded")
    device: Device = setting("where to compute")


@dataclass(frozen=True)
class ReinforceRun(OnPolicyRun):
    """`rlnlp train algo=reinforce`."""

    algo: Reinforce = setting("the algorithm's settings")


@dataclass(frozen=True)
class PpoRun(OnPolicyRun):
    """`rlnlp train algo=ppo`."""

    algo: Ppo = setting("the algorithm's settings")

    def problems(self) -> Iterator[Problem]:
        """A critic that is an adapter, of a policy that is none."""
        yield from super().problems()
        yield from critic_problems("algo", self.algo, self.model)


@dataclass(frozen=True)
class RlhfRun(Common):
    """`rlnlp train algo=rlhf`."""

    algo: Rlhf = setting("the algorithm's settings")
    model: Model = setting("the language model")
    data: RlhfData = setting("the prompts, and what is said of responses to them")
    sampler: Sampler = setting("drawing of responses")
    reward: Reward = setting("the gold reward: the taste of simulated annotators, else only measured")
    annotator: Annotator = setting("who judges")
    device: Device = setting("where to compute")

    def problems(self) -> Iterator[Problem]:
        """What chooses steps by held-out scores, of which each round has others; more pairs than can be asked about."""
        yield from super().problems()
        if self.heldout.patience:
            yield "heldout.patience", "must be 0 for rlhf: each round has a reward model of its own; see algo.kl_budget"
        pairs = self.algo.prompts_per_round * comb(self.algo.num_generations, 2)
        if self.annotator.comparisons_per_round > pairs:
            of = "the pairs of algo.num_generations responses to algo.prompts_per_round prompts"
            yield (
                "annotator.comparisons_per_round",
                f"must be <= {pairs}, {of}, got {self.annotator.comparisons_per_round}",
            )
        if isinstance(self.algo.policy, Ppo):
            yield from critic_problems("algo.policy", self.algo.policy, self.model)
        if self.algo.policy.ptx_coef and self.data.texts is None:
            yield "algo.policy.ptx_coef", f"needs data.texts, got {self.algo.policy.ptx_coef:g} with null"

    @property
    def reward_model(self) -> tuple[RewardModelStage, Model]:
        """The fit of the reward model, and the model that it starts from."""
        fit = self.algo.reward_model
        return fit, self.model if fit.model is None else replace(self.model, path=fit.model, tokenizer=None)

    @property
    def optimization(self) -> PpoRun | ReinforceRun:
        """A run of the policy's algorithm alone, with the gold reward."""
        algo = self.algo.policy
        kind = partial(PpoRun, algo=algo) if isinstance(algo, Ppo) else partial(ReinforceRun, algo=algo)
        return kind(
            seed=self.seed, checkpoint=self.checkpoint, heldout=self.heldout, samples=self.samples,
            tracker=self.tracker, model=self.model, data=self.data, sampler=self.sampler, reward=self.reward,
            device=self.device,
        )  # fmt: skip


@dataclass(frozen=True)
class GenerateRun(Seeded):
    """`rlnlp generate`: the part of a run's settings that drawing needs."""

    model: Model = setting("the language model")
    sampler: Sampler = setting("drawing of responses")
    device: Device = setting("where to compute")
    data: Reading = setting("reading of a file of prompts, and how the model is shown conversations")


@dataclass(frozen=True)
class ScoreRun(GenerateRun):
    """`rlnlp generate --score`: what is drawn is rewarded too."""

    reward: Reward = setting("what is rewarded")


@dataclass(frozen=True)
class RewardRun(GenerateRun):
    """`rlnlp check-reward`: the part of a run's settings that drawing and rewarding need."""

    data: PromptData = setting("the prompts")
    reward: Reward = setting("what is rewarded")


@dataclass(frozen=True)
class RankRun:
    """`rlnlp rank`: what scoring texts needs."""

    model: Model = setting("the reward model")
    device: Device = setting("where to compute")
    data: Reading = setting("reading of a file of texts")


OneStageRun = SftRun | RewardModelRun | ReinforceRun | PpoRun
AnyRun = OneStageRun | RlhfRun
OneStage = OnPolicyRun | SftRun | RewardModelRun  # what an added algorithm's settings are too
Trained = OneStage | RlhfRun
RUNS: dict[str, type[AnyRun]] = {
    "sft": SftRun, "reward-model": RewardModelRun, "reinforce": ReinforceRun, "ppo": PpoRun,
    "rlhf": RlhfRun,
}  # fmt: skip
