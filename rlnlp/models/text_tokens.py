"""Texts to be scored: their tokens as a reward model reads them, and batches in which a shared prompt stands once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from rlnlp.batching import left_padded, right_padded
from rlnlp.maths.shapes import batch_size, check_vectors, same_shape
from rlnlp.models.chat import Chat, Message, Messages, Prompt
from rlnlp.models.turns import assistant_tokens

Answered = str | Message | Messages  # an answer: its text, or the messages that it is


class TextTokens(NamedTuple):
    """A text to be scored: the tokens of its prompt, start tokens in front, and of its answer, one end token behind.

    Without a prompt, ``prompt`` holds the start tokens alone. The two together are the tokens of the whole text: where
    one stands over their border, it is in either.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        """Tokens in all."""
        return len(self.prompt) + len(self.answer)

    @property
    def whole(self) -> list[int]:
        """The tokens as the model reads them."""
        return [*self.prompt, *self.answer]


@dataclass(frozen=True)
class TextReader:
    """Texts and conversations as tokens; ``chat`` is how the reward model is shown them, never how a policy is.

    A text has the same tokens whichever other answers its prompt has. One of more than ``max_tokens`` loses the first
    tokens of its prompt behind the start tokens, then the last of its answer before the end token.
    """

    chat: Chat
    max_tokens: int

    def tokens(self, prompt: Prompt | None, answer: Answered) -> TextTokens:
        """The tokens of ``answer`` to ``prompt``.

        Raises:
            Failure: exit 4, for messages if there is no chat template.
            Unreadable: the chat template refuses the conversation, or leaves out a turn of it.
        """
        return self.read(prompt, answer)[0]

    def cuts(self, prompt: Prompt | None, answer: Answered) -> bool:
        """True if tokens of it are left out.

        Raises:
            Failure: as ``tokens``.
            Unreadable: as ``tokens``.
        """
        return self.read(prompt, answer)[1]

    def read(self, prompt: Prompt | None, answer: Answered) -> tuple[TextTokens, bool]:
        """The tokens of ``answer`` to ``prompt``, and whether some are left out.

        Raises:
            Failure: as ``tokens``.
            Unreadable: as ``tokens``.
        """
        whole = self._whole(prompt, answer)
        tokens = self._cut(*whole)
        return tokens, len(tokens.prompt) + len(tokens.answer) < sum(map(len, whole))

    @cached_property
    def start(self) -> tuple[int, ...]:
        """What the tokenizer puts in front of every text."""
        return tuple(self.chat.tokenizer.encode(""))

    @property
    def end(self) -> int:
        """The token behind every text."""
        return self.chat.tokenizer.end[0]

    def _whole(self, prompt: Prompt | None, answer: Answered) -> tuple[list[int], list[int]]:
        """The tokens of prompt and answer before any are left out."""
        if isinstance(answer, str) and (prompt is None or isinstance(prompt, str)) and self.chat.system is None:
            before, behind = self.chat.tokenizer.encode_behind(prompt or "", answer)
        else:
            ids, learned = assistant_tokens(self.chat, self._conversation(prompt, answer), last_only=True)
            before, behind = ids[: learned.index(True)], ids[learned.index(True) :]
        return before, behind if behind and behind[-1] == self.end else [*behind, self.end]

    def _conversation(self, prompt: Prompt | None, answer: Answered) -> Messages:
        """Prompt and answer as one conversation; of a text without a prompt the user said nothing."""
        said = [{"role": "assistant", "content": answer}] if isinstance(answer, str) else answer
        turns = [said] if isinstance(said, dict) else said
        if prompt is None:
            return self.chat.messages(turns) or turns
        asked = self.chat.messages(prompt)
        return [*([{"role": "user", "content": str(prompt)}] if asked is None else asked), *turns]

    def _cut(self, prompt: list[int], answer: list[int]) -> TextTokens:
        over = len(prompt) + len(answer) - self.max_tokens
        if over <= 0:
            return TextTokens(tuple(prompt), tuple(answer))
        first = len(self.start) if tuple(prompt[: len(self.start)]) == self.start else 0
        lost = min(over, len(prompt) - first)
        kept = max(1, len(answer) - (over - lost))
        return TextTokens((*prompt[:first], *prompt[first + lost :]), (*answer[: kept - 1], self.end))


def reader_of(chat: Chat, max_tokens: int) -> TextReader:
    """A reader that shows texts as ``chat`` does; at least one token of each is read.

    Raises:
        ValueError: fewer than two tokens behind the start tokens are allowed.
    """
    reader = TextReader(chat, max_tokens)
    if max_tokens < len(reader.start) + 2:
        raise ValueError(f"a text needs {len(reader.start) + 2} tokens or more, got {max_tokens}")
    return reader


@dataclass(frozen=True)
class TextBatch:
    """Texts that may share prompts: ``group`` (B,) int64 is the row of the prompt that each answer stands behind.

    ``prompts`` (G, P) int64, padded on the left, with ``prompt_mask`` (G, P) bool; ``answers`` (B, T) int64, padded on
    the right, with ``answer_mask`` (B, T) bool. A prompt may be empty, an answer has a token or more.
    """

    prompts: Tensor
    prompt_mask: Tensor
    answers: Tensor
    answer_mask: Tensor
    group: Tensor

    def __post_init__(self) -> None:
        """Refuse parts that do not fit.

        Raises:
            ValueError: shapes differ, or an answer is empty.
        """
        same_shape(prompts=self.prompts, prompt_mask=self.prompt_mask)
        same_shape(answers=self.answers, answer_mask=self.answer_mask)
        batch_size(prompts=self.prompts)
        check_vectors(batch_size(answers=self.answers), group=self.group)
        if not bool(self.answer_mask.any(1).all()):
            raise ValueError("an answer has no tokens")

    def rows(self) -> tuple[Tensor, Tensor]:
        """Each text as one row without a gap, padded on the right, and where it is real: both (B, L)."""
        tokens = torch.cat([self.prompts[self.group], self.answers], dim=1)
        mask = torch.cat([self.prompt_mask[self.group], self.answer_mask], dim=1)
        order = (~mask).long().argsort(dim=1, stable=True)[:, : int(mask.sum(1).max())]
        return tokens.gather(1, order), mask.gather(1, order)


def text_batch(texts: Sequence[TextTokens], pad: int, device: torch.device) -> TextBatch:
    """The texts as one batch; prompts of equal tokens become one row.

    Raises:
        ValueError: an answer is empty.
    """
    numbers: dict[tuple[int, ...], int] = {}
    group = [numbers.setdefault(text.prompt, len(numbers)) for text in texts]
    prompts = left_padded([list(prompt) for prompt in numbers], range(len(numbers)), pad, device)
    answers, mask = right_padded([list(text.answer) for text in texts], pad, device)
    rows = torch.tensor(group, device=device)
    return TextBatch(prompts.tokens.long(), prompts.mask.bool(), answers, mask, rows)
