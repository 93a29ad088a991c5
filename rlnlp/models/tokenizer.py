"""A tokenizer with the few facts that training needs, and text in and out of it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rlnlp.models.control import ControlWords, special_words, unused_character

Stopper = Callable[[Sequence[int], Sequence[int]], bool]  # tokens before a response, and of it so far: has it ended?


@dataclass(frozen=True)
class Tokenizer:
    """``end`` are the tokens that end a response, ``pad`` fills up (masks come from lengths, never from this id)."""

    raw: Any
    end: tuple[int, ...]
    pad: int
    start: tuple[int, ...]

    @cached_property
    def control(self) -> ControlWords:
        """The words of its special tokens, which are words in every text that is encoded here."""
        return ControlWords(self.raw, special_words(self.raw))

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text`` with the tokenizer's own start, never its end; words like ``</s>`` stay words."""
        ids = self._encode(text)
        while ids and ids[-1] in self.end and ids != list(self.start):
            ids.pop()
        return ids

    def encode_behind(self, text: str, rest: str) -> tuple[list[int], list[int]]:
        """Token ids of ``text``, and of ``rest`` behind it: of the two as one text, as the model reads them.

        Where a token would stand over both, ``text`` has only the tokens before it.
        """
        alone, whole = self.encode(text), self.encode(text + rest)
        different = (i for i, pair in enumerate(zip(alone, whole, strict=False)) if pair[0] != pair[1])
        split = next(different, min(len(alone), len(whole)))
        return whole[:split], whole[split:]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids`` without special tokens."""
        text: str = self.raw.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def decode_rest(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """The text that ``ids`` add behind ``before``: some tokenizers drop a leading space when they start afresh."""
        head, whole = self.decode(before), self.decode([*before, *ids])
        return whole[len(head) :] if whole.startswith(head) else self.decode(ids)

    def _encode(self, text: str) -> list[int]:
        if self.control.within(text):
            with suppress(ValueError):  # else as transformers can say it
                return self.control.encode(text, unused_character([text]), specials=True)[0]
        ids: list[int] = self.raw.encode(text, add_special_tokens=True, split_special_tokens=True)
        return ids
