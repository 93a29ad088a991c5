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
    """``end`` are all tokens that end a response; the first ends a text that is given.

    ``pad`` fills up (masks come from lengths, never from this id). ``stop`` are texts that end a response too; they are
    no part of its text. ``note`` is what the user should know of the tokenizer.
    """

    raw: Any
    end: tuple[int, ...]
    pad: int
    start: tuple[int, ...]
    stop: tuple[str, ...] = ()
    note: str | None = None

    @cached_property
    def control(self) -> ControlWords:
        """The words of its special tokens, which are words in every text that is encoded here."""
        return ControlWords(self.raw, special_words(self.raw))

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text`` with the tokenizer's own start, never its end; words like ``</s>`` stay words."""
        ids = self._encode(text)
        while ids and ids[-1] == self.raw.eos_token_id and ids != list(self.start):
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
        return self._until_stop(self._rest(before, ids))

    def same_words(self, other: "Tokenizer") -> bool:
        """True if a token is the same text in both."""
        return bool(self.raw.get_vocab() == other.raw.get_vocab())

    def knows(self, other: "Tokenizer") -> bool:
        """True if every token of ``other`` is the same text here."""
        return bool(other.raw.get_vocab().items() <= self.raw.get_vocab().items())

    @property
    def stopper(self) -> Stopper | None:
        """``stops`` if there are stop texts: without any no text need be decoded while it grows."""
        return self.stops if self.stop else None

    def stops(self, before: Sequence[int], ids: Sequence[int]) -> bool:
        """True if the text that ``ids`` add behind ``before`` has a stop text near its end."""
        reach = max((len(text.encode()) for text in self.stop), default=0) + 4  # a token is at least a byte
        text = self._rest([*before, *ids[:-reach]][-4:], ids[-reach:])
        return any(stop in text for stop in self.stop)

    def _rest(self, before: Sequence[int], ids: Sequence[int]) -> str:
        head, whole = self.decode(before), self.decode([*before, *ids])
        return whole[len(head) :] if whole.startswith(head) else self.decode(ids)

    def _until_stop(self, text: str) -> str:
        return text[: min((at for stop in self.stop if (at := text.find(stop)) >= 0), default=len(text))]

    def _encode(self, text: str) -> list[int]:
        if self.control.within(text):
            with suppress(ValueError):  # else as transformers can say it
                return self.control.encode(text, unused_character([text]), specials=True)[0]
        ids: list[int] = self.raw.encode(text, add_special_tokens=True, split_special_tokens=True)
        return ids
