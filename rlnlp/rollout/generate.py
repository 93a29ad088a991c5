"""A policy that writes responses to prompts, text in and text out."""

from collections.abc import Sequence
from typing import Any, TypedDict

import torch

from rlnlp.data.prompts import table_of
from rlnlp.data.sources import check_context_length
from rlnlp.maths.distribution import Distribution
from rlnlp.models.policy import Policy
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.rng import stream
from rlnlp.rollout.sampling import sampler

BATCH = 32  # prompts sampled at once


class Response(TypedDict):
    """A response to a prompt: ``ended`` if it ended itself, ``tokens`` how many it has."""

    prompt: str
    response: str
    ended: bool
    tokens: int


class LoadedPolicy:
    """A policy with its tokenizer and how it is sampled.

    Attributes:
        model: the model of transformers.
        tokenizer: its tokenizer.
        notes: what is special about them, in sentences.
    """

    def __init__(
        self, policy: Policy, tokenizer: Tokenizer, distribution: Distribution, max_new_tokens: int, seed: int,
        notes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._policy, self._tokenizer, self._distribution = policy, tokenizer, distribution
        self._max_new_tokens, self._seed = max_new_tokens, seed
        self.model: Any = policy.lm
        self.tokenizer: Any = tokenizer.raw
        self.notes = tuple(notes)

    @torch.no_grad()
    def generate(self, prompts: str | Sequence[str], n: int = 1, seed: int | None = None) -> list[Response]:
        """``n`` responses to each prompt, in order; the same ones at each call, those of ``rlnlp generate``.

        Args:
            prompts: one prompt or several.
            n: responses to each prompt, at least 1.
            seed: of the draws; None is the seed of the run. Another seed draws other responses.

        Returns:
            For each response a record of ``prompt``, ``response``, ``ended`` and ``tokens``.

        Raises:
            ValueError: ``n`` is below 1.
            rlnlp.errors.Failure: a prompt is too long, or the responses would not fit the model.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        given, longest = [prompts] if isinstance(prompts, str) else list(prompts), self._max_new_tokens
        check_context_length(longest, self._policy.context)
        table = table_of([{"prompt": prompt} for prompt in given], self._tokenizer, self._policy.context - longest)
        collect = sampler(self._policy, self._distribution, longest, self._tokenizer.pad, self._tokenizer.stopper)
        rng = stream(self._seed if seed is None else seed, "generate")
        found: list[Response] = []
        for start in range(0, len(given), BATCH):
            rows = range(start, min(start + BATCH, len(given)))
            rollout = collect(table.batch(rows, self._policy.device).repeat(n), rng)
            texts = table.texts(rollout)
            figures = zip(rollout.ended.tolist(), rollout.mask.sum(1).tolist(), strict=True)
            for prompt, response, (ended, tokens) in zip(texts.prompts, texts.completions, figures, strict=True):
                found.append({"prompt": prompt, "response": response, "ended": ended, "tokens": tokens})
        return found
