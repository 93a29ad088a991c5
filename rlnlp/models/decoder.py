"""Logits of the next token for a batch of texts that grow."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from rlnlp.batching import groups_of
from rlnlp.models.calling import positions
from rlnlp.models.decoding import ResponseCache, response_cache
from rlnlp.models.llama_step import LlamaStep, ResponseKeys, TextKeys, step_dtype
from rlnlp.models.policy import Policy
from rlnlp.models.recorded_step import RecordedStep, cuda_graph, may_be_recorded
from rlnlp.types import Prompts


class Decoder:
    """Logits of the next token for a batch of texts that grow; the key-value cache grows with them.

    ``more`` is how many tokens at most follow the prompts.
    """

    def __init__(self, policy: Policy, more: int) -> None:
        self.policy, self.more = policy, more
        self.cache: Any = None
        self.responses: ResponseCache | None = None  # what ``cache`` is, where responses grow in room that is there
        self.step: LlamaStep | RecordedStep | None = None  # what goes on with the cache, once the prompts are read
        self.read: Tensor | None = None  # all tokens so far, where the model has no cache

    def __call__(self, tokens: Tensor, attention: Tensor) -> Tensor:
        """The logits after ``tokens``, those that are new since the last call, (B, n) -> (B, V).

        ``attention`` (B, L) marks the real tokens of the whole text so far.
        """
        if self.step is not None:
            return self.step(tokens, attention)[:, : self.policy.drawable]
        if self.cache is None and self.policy.cached and self.policy.shrinks and self.policy.sharing is not None:
            return self._each_prompt_once(tokens, attention)
        return self._logits(tokens, attention)

    def _each_prompt_once(self, prompts: Tensor, attention: Tensor) -> Tensor:
        """The logits after ``prompts`` (B, n), with the same keys and values for equal ones."""
        group = groups_of(Prompts(prompts, attention, torch.arange(len(prompts), device=prompts.device)))
        first = [group.index(number) for number in range(max(group) + 1)]
        logits, rows = self._logits(prompts[first], attention[first]), torch.tensor(group, device=prompts.device)
        sharing = self.policy.sharing
        if sharing is not None and sharing.decodes_in_place(prompts.shape[1], self.more):
            self.responses = response_cache(self.cache, group, self.more)
        if self.responses is None and len(first) < len(group):
            self.cache.batch_select_indices(rows)
        if sharing is not None and sharing.steps_alone(prompts.shape[1], self.more):
            with self.policy.adapted():
                self.step = self._own_step(attention)
            self.cache = None  # the step's: it is replaced as it grows
        return logits[rows] if len(first) < len(group) else logits

    def _own_step(self, attention: Tensor) -> LlamaStep | RecordedStep:
        """What goes on after prompts that ``attention`` (B, P) marks the real tokens of."""
        lm = self.policy.lm
        if self.responses is None:
            return LlamaStep(lm, TextKeys(self.cache, self.more, attention, step_dtype(lm)))
        if may_be_recorded(lm):
            return RecordedStep(lm, self.responses, attention, cuda_graph)
        return LlamaStep(lm, ResponseKeys(self.responses))

    def _logits(self, tokens: Tensor, attention: Tensor) -> Tensor:
        if not self.policy.cached:
            tokens = self.read = tokens if self.read is None else torch.cat([self.read, tokens], dim=1)
        with self._attending():
            out = self.policy.call(
                input_ids=tokens,
                attention_mask=attention.long() if self.responses is None else self.responses.sees(attention),
                position_ids=positions(attention, self.policy.first_position)[:, -tokens.shape[1] :],
                past_key_values=self.cache,
                use_cache=self.policy.cached,
                # By its number, which makes a contiguous row: a frozen head is else copied for each row of the batch.
                logits_to_keep=torch.tensor([tokens.shape[1] - 1], device=tokens.device),
            )
        self.cache = out.past_key_values if self.policy.cached else None
        logits: Tensor = out.logits[:, -1, : self.policy.drawable]
        return logits

    def _attending(self) -> AbstractContextManager[None]:
        return nullcontext() if self.responses is None else self.responses.attending(self.policy.lm.config)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows of the batch only."""
        if self.step is not None:
            self.step.keep(rows)
        elif self.read is not None:
            self.read = self.read[rows]
        elif self.responses is not None:
            self.responses.keep(rows)
        else:
            assert self.cache is not None, "called after a first pass"
            self.cache.batch_select_indices(rows)
