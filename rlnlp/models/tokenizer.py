"""A tokenizer with the few facts that training needs, and text in and out of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tokenizer:
    """``end`` are the tokens that end a response, ``pad`` fills up (masks come from lengths, never from this id)."""

    raw: Any
    end: tuple[int, ...]
    pad: int
    start: tuple[int, ...]

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text`` with the tokenizer's own start, never its end; words like ``</s>`` stay words."""
        ids: list[int] = self.raw.encode(text, add_special_tokens=True, split_special_tokens=True)
        while ids and ids[-1] in self.end and ids != list(self.start):
            ids.pop()
        return ids

    def encode_rest(self, text: str) -> list[int]:
        """Token ids of a text that continues another: no start, no end."""
        ids: list[int] = self.raw.encode(text, add_special_tokens=False, split_special_tokens=True)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids`` without special tokens."""
        text: str = self.raw.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def decode_rest(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """The text that ``ids`` add behind ``before``: some tokenizers drop a leading space when they start afresh."""
        head, whole = self.decode(before), self.decode([*before, *ids])
        return whole[len(head) :] if whole.startswith(head) else self.decode(ids)
