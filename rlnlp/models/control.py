"""Control tokens and the words that spell them: in people's texts these are words, never the tokens."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from typing import Any

NONCHARACTERS = tuple(map(chr, range(0xFDD0, 0xFDF0)))  # Unicode keeps them for use inside programs
Offsets = list[tuple[int, int]]


def unused_character(texts: Iterable[str]) -> str:
    """A noncharacter of Unicode that is in none of the ``texts``.

    Raises:
        ValueError: they have all of them.
    """
    taken = set().union(*map(set, texts))
    for character in NONCHARACTERS:
        if character not in taken:
            return character
    raise ValueError("holds every noncharacter from U+FDD0 to U+FDEF")


class ControlWords:
    """The words of some control tokens of a tokenizer, and texts encoded with these words as words.

    ``raw`` is the tokenizer of transformers, ``ids`` the token of each word.
    """

    def __init__(self, raw: Any, ids: Mapping[str, int]) -> None:
        self.raw, self.ids = raw, dict(ids)
        self._first = {word[0] for word in self.ids}
        self._copy = cache(self._renamed)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches each word, the longest first as the tokenizer does; without words it matches nothing."""
        words = sorted(self.ids, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, words)) or r"(?!)")

    def within(self, text: str) -> list[str]:
        """The control words that ``text`` holds, in order."""
        return self.pattern.findall(text) if any(character in text for character in self._first) else []

    def name(self, word: str, mark: str) -> str:
        """What spells the control token of ``word`` in a text for ``encode``; ``mark`` is in no text of people's."""
        return f"{mark}{self.ids[word]}{mark}"

    def encode(self, text: str, mark: str, specials: bool = False) -> tuple[list[int], Offsets]:
        """Token ids of ``text``, and where each stands in it: a control word is letters, its ``name`` is the token.

        ``specials``: with the tokens that the tokenizer puts around a text.

        Raises:
            ValueError: the tokenizer has no form in which this can be said.
        """
        encoding = self._copy(mark).encode(text, add_special_tokens=specials)
        return encoding.ids, encoding.offsets

    def _renamed(self, mark: str) -> Any:
        """A copy of the tokenizer in which control tokens have names that nobody writes, with offsets of every byte.

        Renaming leaves everything else as it is, so the text around a control word is cut as the model saw it.
        """
        from tokenizers import Tokenizer

        if not self.raw.is_fast:
            raise ValueError("holds the words of control tokens, which this model's tokenizer can only read as tokens")
        names = {word: self.name(word, mark) for word in self.ids}
        stored = json.loads(self.raw.backend_tokenizer.to_str())
        stored |= {"padding": None, "truncation": None}
        for token in stored["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"])
        _rename_vocabulary(stored["model"], names)
        _keep_spaces(stored["post_processor"])
        copied = Tokenizer.from_str(json.dumps(stored))
        if any(copied.token_to_id(name) != self.ids[word] for word, name in names.items()):
            raise ValueError("holds the words of control tokens, which this model's tokenizer can only read as tokens")
        return copied


def special_words(raw: Any) -> dict[str, int]:
    """The special tokens of a tokenizer: each word with its id."""
    found = {token.content: i for i, token in raw.added_tokens_decoder.items() if token.special}
    named = {word: raw.convert_tokens_to_ids(word) for word in raw.all_special_tokens}
    return {word: i for word, i in {**found, **named}.items() if word.strip()}


def added_words(raw: Any) -> dict[str, int]:
    """The tokens, special or not, that a tokenizer finds in a text before anything else; none of white space."""
    found = {token.content: i for i, token in raw.added_tokens_decoder.items() if token.content.strip()}
    return {**found, **special_words(raw)}


def _rename_vocabulary(model: dict[str, Any], names: Mapping[str, str]) -> None:
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(word, word): i for word, i in vocabulary.items()}
    else:
        model["vocab"] = [[names.get(word, word), score] for word, score in vocabulary]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        pairs = ((pair, pair if isinstance(pair, list) else pair.split(" ")) for pair in model["merges"])
        model["merges"] = [stored for stored, pair in pairs if "".join(pair) not in names]


def _keep_spaces(processor: Any) -> None:
    """Offsets of byte-level tokens with their leading spaces, which would otherwise be nobody's."""
    for part in [processor, *(processor or {}).get("processors", [])]:
        if isinstance(part, dict) and "trim_offsets" in part:
            part["trim_offsets"] = False
