"""What a reward gives for responses of any policy: those of the run that it is of, and of others beside it."""

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import cached_property
from typing import Any

from torch import Tensor

from rlnlp import build
from rlnlp.config.schema import ScoreRun
from rlnlp.device import compute_device
from rlnlp.evaluate.measure import given_row
from rlnlp.maths.distribution import Distribution
from rlnlp.models.policy import logprob_fn
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.rewards.model.coherence import coherence, retokenize
from rlnlp.rewards.terms import weighted_sum
from rlnlp.types import Rollout, Texts

BATCH = 32  # responses that are scored by a model at once


class Scorer:
    """The reward of ``settings``. ``first`` loads the policy that a run began with: coherence is measured by that.

    What the functions need is kept in ``kept`` for as long as it is open.
    """

    def __init__(self, settings: ScoreRun, first: Callable[[], build.Language], kept: ExitStack) -> None:
        self._first = first
        self._texts: Texts | None = None
        self._tokenizer: Tokenizer | None = None
        load = build.function_loader(settings.reward, nullcontext, kept.enter_context)
        device = compute_device(settings.device)
        terms, self.content = build.reward_terms(settings.reward, self._read, self._coherence, device, load)
        self._reward = weighted_sum(terms, build.shapings(settings.reward))

    def __call__(self, rollout: Rollout, texts: Texts, tokenizer: Tokenizer) -> list[dict[str, Any]]:
        """The score and the terms of each response; ``texts`` are the rollout in words, ``tokenizer`` its policy's.

        Raises:
            Failure: exit 3, 4 or 7, as a reward does.
        """
        self._texts, self._tokenizer = texts, tokenizer
        scores = self._reward(rollout)
        values = scores.score.tolist()
        return [{"score": value, "terms": given_row(scores.terms, scores.given, i)} for i, value in enumerate(values)]

    def _read(self, rollout: Rollout) -> Texts:
        assert self._texts is not None, "called within a score"
        return self._texts

    @cached_property
    def _language(self) -> build.Language:
        found = self._first()
        found.policy.requires_grad_(False)
        return found

    def _coherence(self, rollout: Rollout) -> Tensor:
        policy, own = self._language.policy, self._language.tokenizer
        likelihood = logprob_fn(policy, Distribution(1.0, 0, 1.0, 0, own.end), BATCH)
        if self._tokenizer is None or not self._tokenizer.same_words(own):
            rollout = retokenize(rollout, self._read(rollout), own, policy.context)
        return coherence(likelihood, len(own.raw))(rollout)
