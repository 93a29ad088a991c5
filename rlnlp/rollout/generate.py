"""A policy that writes responses to prompts, text in and text out."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NotRequired, TypedDict

import torch

from rlnlp.data.formats import Record
from rlnlp.data.prompts import PromptTable, table_of
from rlnlp.data.sources import check_context_length
from rlnlp.errors import Exit, Failure, counted
from rlnlp.maths.distribution import Distribution
from rlnlp.models.chat import Chat, Message, Messages, Prompt
from rlnlp.models.policy import Policy
from rlnlp.models.tokenizer import Stopper
from rlnlp.rng import stream
from rlnlp.rollout.sampling import Collect, sampler
from rlnlp.types import Rollout

BATCH = 32  # prompts sampled at once


class Response(TypedDict):
    """A response to a prompt: ``ended`` if it ended itself, ``tokens`` how many it has.

    Where the prompt is a conversation, ``prompt`` is what people read of it, and ``messages`` has the response too.
    """

    prompt: str
    response: str
    ended: bool
    tokens: int
    messages: NotRequired[list[Message]]


class LoadedPolicy:
    """A policy with its tokenizer and how it is sampled.

    Attributes:
        model: the model of transformers.
        tokenizer: its tokenizer.
        notes: what is special about them, in sentences.
    """

    def __init__(
        self, policy: Policy, chat: Chat, distribution: Distribution, max_new_tokens: int, seed: int,
        notes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._policy, self._chat, self._distribution = policy, chat, distribution
        self._max_new_tokens, self._seed = max_new_tokens, seed
        self.model: Any = policy.lm
        self.tokenizer: Any = chat.tokenizer.raw
        self.notes = tuple(notes)

    @torch.no_grad()
    def generate(self, prompts: Prompt | Sequence[Prompt], n: int = 1, seed: int | None = None) -> list[Response]:
        """``n`` responses to each prompt, in order; the same ones at each call, those of ``rlnlp generate``.

        Args:
            prompts: one prompt or several. A prompt is a text, or a conversation: a list of messages, each with
                ``role`` and ``content``, which the model reads by its chat template.
            n: responses to each prompt, at least 1.
            seed: of the draws; None is the seed of the run. Another seed draws other responses.

        Returns:
            For each response a record of ``prompt``, ``response``, ``ended`` and ``tokens``; for a conversation its
            ``messages`` too, the response as the last.

        Raises:
            ValueError: ``n`` is below 1.
            rlnlp.errors.Failure: a prompt is too long or no conversation, the model has no chat template for it, or the
                responses would not fit the model.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        drawn = self.draws(_each(prompts), n, seed)
        return [response for table, rollout in drawn for response in self.responses(table, rollout)]

    @torch.no_grad()
    def draws(
        self, prompts: Sequence[Prompt | Record], n: int, seed: int | None = None
    ) -> Iterator[tuple[PromptTable, Rollout]]:
        """The rollouts of ``n`` responses to each of some prompts, as ``generate`` draws them, with their table.

        Raises:
            rlnlp.errors.Failure: as ``generate``.
        """
        table = self._table(prompts)
        collect = self._collect(table, self._max_new_tokens, table.tokenizer.stopper)
        rng = stream(self._seed if seed is None else seed, "generate")
        for start in range(0, len(table.tokens), BATCH):
            rows = range(start, min(start + BATCH, len(table.tokens)))
            yield table, collect(table.batch(rows, self._policy.device).repeat(n), rng)

    def notes_on(self, prompts: Sequence[Prompt | Record]) -> Sequence[str]:
        """What is to be told of the prompts, in sentences.

        Raises:
            rlnlp.errors.Failure: as ``generate``.
        """
        return self._table(prompts).notes

    @torch.no_grad()
    def answer(self, messages: Messages, hear: Callable[[str], None]) -> Response:
        """The assistant's next turn in a conversation; ``hear`` is given its text so far with each token.

        Raises:
            rlnlp.errors.Failure: the model has no chat template, or no room for a response.
        """
        context = self._policy.context
        table = table_of([messages], self._chat, sys.maxsize)
        room = context - len(table.tokens[0])
        if room < 1:
            limit = counted(context, "token")
            raise Failure(Exit.DATA, f"the conversation fills the model's context of {limit}; begin a new one")

        def heard(before: Sequence[int], ids: Sequence[int]) -> bool:
            hear(table.response_text(0, ids))
            return table.tokenizer.stops(before, ids)

        collect = self._collect(table, min(room, self._max_new_tokens), heard)
        rng = stream(self._seed, "chat", len(messages))
        (response,) = self.responses(table, collect(table.batch([0], self._policy.device), rng))
        return response

    def _table(self, prompts: Sequence[Prompt | Record]) -> PromptTable:
        check_context_length(self._max_new_tokens, self._policy.context)
        return table_of(prompts, self._chat, self._policy.context - self._max_new_tokens)

    def _collect(self, table: PromptTable, longest: int, stops: Stopper | None) -> Collect:
        drawn = replace(self._distribution, end=table.tokenizer.end)
        return sampler(self._policy, drawn, longest, table.tokenizer.pad, stops)

    def responses(self, table: PromptTable, rollout: Rollout) -> list[Response]:
        """The responses of a rollout in words."""
        texts = table.texts(rollout)
        figures = zip(rollout.ended.tolist(), rollout.mask.sum(1).tolist(), strict=True)
        found: list[Response] = []
        for i, (ended, tokens) in enumerate(figures):
            response: Response = {
                "prompt": texts.prompts[i], "response": texts.completions[i], "ended": ended, "tokens": tokens
            }  # fmt: skip
            found.append({**response, "messages": texts.messages[i]} if texts.spoken[i] else response)
        return found


def _each(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """The prompts one by one: a list of messages is one of them."""
    if isinstance(prompts, str):
        return [prompts]
    given: list[Any] = list(prompts)
    if given and all(isinstance(each, Mapping) for each in given):
        return [given]
    return [each if isinstance(each, str) else list(each) for each in given]
