"""The reward model of the rounds: fitted anew in each, normalized on the first policy, and then the reward."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlnlp import build
from rlnlp.algos import reward_model
from rlnlp.algos.optim import Optimizers, backward, forget, optimizers
from rlnlp.algos.reward_scores import FeatureCache, normalization, scored_at_once, scorer
from rlnlp.algos.reward_updates import Fitting
from rlnlp.batching import AtOnce, parts_at_once
from rlnlp.config.rlhf import RewardModelStage
from rlnlp.config.schema import RlhfRun
from rlnlp.data.judged_batch import RatingScale, batches, bootstrap_weights
from rlnlp.data.preference_table import PreferenceTable
from rlnlp.models.reward_load import LoadedRewardModel
from rlnlp.models.reward_model import RewardModel
from rlnlp.models.text_tokens import TextReader, text_batch
from rlnlp.rewards.model.learned import Asked, ScoreTexts, with_prompts
from rlnlp.rewards.model.learned import scorer as texts_scorer
from rlnlp.rewards.terms import Reward, weighted_sum
from rlnlp.rng import stream
from rlnlp.run.steps import Steps
from rlnlp.types import Rollout, Texts


@dataclass(frozen=True)
class RoundModel:
    """The reward model with what fits it. ``start`` are the weights that each round begins with, but for the heads."""

    model: RewardModel
    reader: TextReader
    start: dict[str, Tensor]
    optimizers: Optimizers
    algo: RewardModelStage
    seed: int

    def trial(self, asked: Sequence[Asked]) -> float:
        """Seconds that a step takes, from one on some answers that changes nothing."""
        begun = time.monotonic()
        texts = [self.reader.tokens(prompt, answer) for prompt, answer in asked[: self.algo.responses]]
        for part in parts_at_once(((1, len(text)) for text in texts), *self.at_once):
            backward(self.model(text_batch(texts[part], self.model.pad, self.model.device)).sum())
        self.model.zero_grad(set_to_none=True)
        return (time.monotonic() - begun) * self.algo.responses / max(1, len(texts))

    @property
    def at_once(self) -> AtOnce:
        """How much the model reads at once."""
        return self.model.at_once(self.algo.micro_batch_size, self.algo.micro_batch_tokens)

    def restart(self, round: int) -> None:
        """The trunk is as it was at the start, the heads are new, and the optimizers too."""
        self.model.load_state_dict(self.start)
        for number, head in enumerate(self.model.heads):
            head.start(stream(self.seed, "reward-head", round, number))
        forget(self.optimizers)

    def fit(self, table: PreferenceTable, round: int, steps: Steps) -> None:
        """Descend the loss of the judgements of ``table``, by the loop that fits every reward model."""
        algo, device = self.algo, self.model.device
        seed = int(stream(self.seed, "reward-model", round).integers(2**31))
        cache = FeatureCache(self.model, table, self.at_once) if algo.frozen_trunk else None
        counts = bootstrap_weights(table.units, table.train, algo.ensemble_size, seed).to(device)
        batch = batches(table, RatingScale(), device)
        at_once = scored_at_once(self.model, cache, algo)
        fitting = Fitting(table, table.train, batch, scorer(self.model, cache), at_once, counts, algo, seed)
        reward_model.train(self.model, self.optimizers, fitting, lambda step: {}, steps)

    def normalize(self, asked: Sequence[Asked], prompts: Sequence[int]) -> None:
        """Let the scores of ``asked``, to prompts of these numbers, have mean 0, and deviation 1 within prompts."""
        scores, numbers = self.raw_scores(asked).cpu(), torch.tensor(prompts)
        scales = [normalization(each, numbers, len(set(prompts)) < len(prompts)) for each in scores]
        self.model.normalize([scale.gain for scale in scales], [scale.bias for scale in scales])

    def raw_scores(self, asked: Sequence[Asked]) -> Tensor:
        """The raw scores of each member, (M, N)."""
        texts = [self.reader.tokens(prompt, answer) for prompt, answer in asked]
        return self.model.raw_scores(texts, *self.at_once)

    def member_scores(self, asked: Sequence[Asked]) -> Tensor:
        """The normalized scores of each member, (M, N)."""
        return self.model.gain.unsqueeze(1) * self.raw_scores(asked) + self.model.bias.unsqueeze(1)

    @property
    def scores(self) -> ScoreTexts:
        """The scores (N,) of answers to prompts, as the reward model is when they are asked for."""
        loaded = LoadedRewardModel(self.model, self.reader, ())
        return texts_scorer("the reward model", loaded, *self.at_once)

    def reward(self, texts_of: Callable[[Rollout], Texts]) -> Reward:
        """The scores of a rollout, as a reward."""
        scores = self.scores
        return weighted_sum({"learned": (lambda rollout: scores(list(with_prompts(texts_of(rollout)))), 1.0)})


def round_model(config: RlhfRun, language: build.Language | build.EncoderLanguage) -> RoundModel:
    """A reward model on the body of ``language``, which it takes over.

    Raises:
        Failure: exit 2 or 4, if it cannot be made of it.
    """
    algo = config.algo.reward_model
    reader, model = build.text_reader(config.data, language), build.reward_model(algo, language, config.seed)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return RoundModel(model, reader, start, optimizers(model, algo), algo, config.seed)
