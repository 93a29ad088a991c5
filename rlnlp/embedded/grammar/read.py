"""Reading of texts: which sentences the grammar accepts, and what they say."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rlnlp.embedded.grammar.rules import END_MARKS, MARKERS, Alternative, Grammar, article
from rlnlp.embedded.grammar.tags import Attributes, Marks, merge, summarise

MAX_WORDS = 60
MAX_SENTENCES = 200
_CACHE_SIZE = 20000

# Sentences without a marker may belong to any role; the first role that accepts one decides what it says.
_ROLES = {
    "": ("plain", "agent", "customer", "comment"),
    "customer": ("customer",),
    "agent": ("agent",),
    "comment": ("comment", "plain"),
}
_CHUNK = re.compile(r"([A-Za-z0-9][A-Za-z0-9'-]*)([,;]?)([.!?]?)", re.ASCII)
_UNKNOWN = ""


@dataclass(frozen=True)
class Reading:
    """What the reader makes of a text.

    `sentences` counts the complete sentences and `accepted_sentences` those that the grammar accepts; only these
    speak for the scales and the category. `unfinished` says that words follow the last complete sentence.
    """

    sentences: int
    accepted_sentences: int
    sentiment: float
    politeness: float
    helpfulness: float
    category: str
    unfinished: bool = False

    @property
    def accepted(self) -> bool:
        """Whether there is a complete sentence and all of them are accepted."""
        return 0 < self.sentences == self.accepted_sentences

    @property
    def attributes(self) -> Attributes:
        """The scales and the category alone."""
        return Attributes(self.sentiment, self.politeness, self.helpfulness, self.category)


@dataclass(frozen=True)
class _Entry:
    """An alternative list by first word; alternatives that may be empty fit before any word."""

    by_word: dict[str, tuple[Alternative, ...]]
    otherwise: tuple[Alternative, ...]


@dataclass(frozen=True)
class Sentence:
    """One sentence as found in a text: the role that speaks, its words, and whether it has its end mark."""

    role: str
    words: tuple[str, ...]
    complete: bool


def split_sentences(text: str) -> list[Sentence]:
    """The sentences of a text, in order; words that no rule file could hold become an empty word.

    A marker such as "Agent:" at the start of a sentence sets the role for it and for those after it.
    """
    found: list[Sentence] = []
    role, marked = "", False
    words: list[str] = []
    for chunk in text.split():
        if not words and not marked and chunk in MARKERS:
            role, marked = MARKERS[chunk], True
            continue
        match = _CHUNK.fullmatch(chunk)
        words.extend([part for part in match.groups() if part] if match else [_UNKNOWN])
        if chunk[-1] in END_MARKS:
            found.append(Sentence(role, tuple(words), True))
            words, marked = [], False
    if words:
        found.append(Sentence(role, tuple(words), False))
    return found


class Reader:
    """A reader for one grammar; it keeps what it has learnt about sentences that it has seen."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._first: dict[str, tuple[frozenset[str], bool]] = {}
        self._entries: dict[str, _Entry] = {}
        self._seen: dict[tuple[str, tuple[str, ...]], Marks | None] = {}
        for name in grammar.rules:
            self._entries[name] = self._entry(name)
        self._roots: dict[str, dict[str, list[str]]] = {}
        for rule in grammar.of_kind("sentence"):
            roots = self._roots.setdefault(rule.group, {})
            for word in sorted(self._first_of(rule.name)[0]):
                roots.setdefault(word, []).append(rule.name)

    def read(self, text: str) -> Reading:
        """What a whole text says; any string may be given.

        Sentences of more than 60 words, and all after the 200th, count as refused.
        """
        total, unfinished = 0, False
        marks: list[Marks] = []
        for sentence in split_sentences(text):
            if not sentence.complete:
                unfinished = True
                continue
            total += 1
            found = self.sentence(sentence) if total <= MAX_SENTENCES else None
            if found is not None:
                marks.append(found)
        told = summarise(marks)
        scales = (told.sentiment, told.politeness, told.helpfulness)
        return Reading(total, len(marks), *scales, told.category, unfinished)

    def sentence(self, sentence: Sentence) -> Marks | None:
        """The marks of one complete sentence, or None when it is refused."""
        key = (sentence.role, sentence.words)
        if len(sentence.words) > MAX_WORDS:
            return None
        if key not in self._seen:
            if len(self._seen) >= _CACHE_SIZE:
                self._seen.clear()
            self._seen[key] = self._parse(sentence)
        return self._seen[key]

    def _parse(self, sentence: Sentence) -> Marks | None:
        words = list(sentence.words)
        if _UNKNOWN in words or not (words[0][0].isupper() or words[0][0].isdigit()):
            return None
        starts = [words[0][0].lower() + words[0][1:], words[0]]
        for at, word in enumerate(words[:-1]):
            if word in ("a", "an") or (at == 0 and word in ("A", "An")):
                if article(words[at + 1]) != word.lower():
                    return None
                words[at] = "a"
                starts = ["a"] if at == 0 else starts
        for role in _ROLES[sentence.role]:
            for start in starts:
                words[0] = start
                memo: dict[tuple[str, int], dict[int, Marks]] = {}
                for name in self._roots.get(role, {}).get(start, ()):
                    ends = self._spans(name, 0, words, memo)
                    if len(words) in ends:
                        return ends[len(words)]
        return None

    def _spans(
        self, name: str, start: int, words: list[str], memo: dict[tuple[str, int], dict[int, Marks]]
    ) -> dict[int, Marks]:
        """All positions where the rule may end when it starts at `start`, each with its marks."""
        known = memo.get((name, start))
        if known is not None:
            return known
        entry = self._entries[name]
        word = words[start] if start < len(words) else _UNKNOWN
        found: dict[int, Marks] = {}
        for alternative in entry.by_word.get(word, entry.otherwise):
            ends: dict[int, Marks] = {start: ()}
            for item in alternative.items:
                following: dict[int, Marks] = {}
                for at, marks in ends.items():
                    if item.is_rule:
                        for end, more in self._spans(item.value, at, words, memo).items():
                            following.setdefault(end, marks + more)
                    elif at < len(words) and words[at] == item.value:
                        following[at + 1] = marks
                ends = following
                if not ends:
                    break
            for end, marks in ends.items():
                found.setdefault(end, merge(marks, alternative.marks))
        memo[name, start] = found
        return found

    def _first_of(self, name: str) -> tuple[frozenset[str], bool]:
        """The words that a rule may start with, and whether it may be empty."""
        if name not in self._first:
            parts = [self._first_in(a) for a in self._grammar.rules[name].alternatives]
            self._first[name] = (frozenset(word for words, _ in parts for word in words), any(p[1] for p in parts))
        return self._first[name]

    def _first_in(self, alternative: Alternative) -> tuple[frozenset[str], bool]:
        words: frozenset[str] = frozenset()
        for item in alternative.items:
            first, empty = self._first_of(item.value) if item.is_rule else (frozenset((item.value,)), False)
            words |= first
            if not empty:
                return words, False
        return words, True

    def _entry(self, name: str) -> _Entry:
        by_word: dict[str, list[Alternative]] = {word: [] for word in sorted(self._first_of(name)[0])}
        otherwise: list[Alternative] = []
        for alternative in self._grammar.rules[name].alternatives:
            first, empty = self._first_in(alternative)
            for word in by_word:
                if empty or word in first:
                    by_word[word].append(alternative)
            if empty:
                otherwise.append(alternative)
        return _Entry({word: tuple(some) for word, some in by_word.items()}, tuple(otherwise))


def taste(reading: Reading) -> float:
    """The gold taste for a text: higher is better, and there is no noise in it.

    Friendly, helpful, positive and harmless texts are preferred; a refused sentence costs more than any of these.
    """
    score = reading.sentiment + reading.politeness + 2.0 * reading.helpfulness
    score -= 0.0 if reading.category == "harmless" else 4.0
    return score - 5.0 * (reading.sentences - reading.accepted_sentences)
