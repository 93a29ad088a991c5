"""Parse texts: which sentences the grammar accepts, and their attributes."""

import re
from dataclasses import dataclass

from rlnlp.embedded.grammar.rules import ROLE_MARKERS, SENTENCE_ENDS, Alternative, Grammar, article
from rlnlp.embedded.grammar.tags import Attributes, Tags, merge, summarize

MAX_WORDS = 60
MAX_SENTENCES = 200
_CACHE_SIZE = 20000

# Sentences without a role marker may have any role; the first role that accepts the sentence determines its tags.
_ROLES = {
    "": ("plain", "agent", "customer", "comment"),
    "customer": ("customer",),
    "agent": ("agent",),
    "comment": ("comment", "plain"),
}
_CHUNK = re.compile(r"([A-Za-z0-9][A-Za-z0-9'-]*)([,;]?)([.!?]?)", re.ASCII)
_UNKNOWN = ""

FirstWords = tuple[frozenset[str], bool]  # the words that something can start with, and whether it can be empty
Ends = dict[int, Tags]  # the positions at which something can end, with the tags of the words up to there
Memo = dict[tuple[str, int], Ends]  # of the rules that start at a position of one sentence


@dataclass(frozen=True)
class Reading:
    """The result of parsing a text.

    ``sentences`` is the number of complete sentences, ``accepted_sentences`` the number of those that the grammar
    accepts; only these determine the scales (-1 to 1) and the category. ``unfinished`` is True if words follow the
    last complete sentence.
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
        """True if there is a complete sentence and all of them are accepted."""
        return 0 < self.sentences == self.accepted_sentences

    @property
    def attributes(self) -> Attributes:
        """The scales and the category."""
        return Attributes(self.sentiment, self.politeness, self.helpfulness, self.category)


@dataclass(frozen=True)
class Sentence:
    """A sentence of a text: the role of its speaker, its words, and whether it has its final punctuation."""

    role: str
    words: tuple[str, ...]
    complete: bool


@dataclass(frozen=True)
class _Candidates:
    """The alternatives of a rule that can match before a given word; ``empty`` are those that match before any."""

    by_word: dict[str, tuple[Alternative, ...]]
    empty: tuple[Alternative, ...]


def split_sentences(text: str) -> list[Sentence]:
    """The sentences of a text, in order. Words that cannot occur in a rule file become empty words.

    A marker such as "Agent:" at the start of a sentence sets the role of that sentence and of those after it.
    """
    sentences: list[Sentence] = []
    role, marked = "", False
    words: list[str] = []
    for chunk in text.split():
        if not words and not marked and chunk in ROLE_MARKERS:
            role, marked = ROLE_MARKERS[chunk], True
            continue
        match = _CHUNK.fullmatch(chunk)
        words.extend([part for part in match.groups() if part] if match else [_UNKNOWN])
        if chunk[-1] in SENTENCE_ENDS:
            sentences.append(Sentence(role, tuple(words), True))
            words, marked = [], False
    if words:
        sentences.append(Sentence(role, tuple(words), False))
    return sentences


def gold_score(reading: Reading) -> float:
    """The noise-free preference score of a text; higher is better.

    Friendly, helpful, positive and harmless texts are preferred; a sentence that is not accepted costs more than any
    of these.
    """
    score = reading.sentiment + reading.politeness + 2.0 * reading.helpfulness
    score -= 0.0 if reading.category == "harmless" else 4.0
    return score - 5.0 * (reading.sentences - reading.accepted_sentences)


class Reader:
    """A parser for one grammar; it caches the results of the sentences that it has parsed."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._first_words: dict[str, FirstWords] = {}
        self._parsed: dict[tuple[str, tuple[str, ...]], Tags | None] = {}
        self._candidates = {name: self._candidates_of(name) for name in grammar.rules}
        self._sentence_rules: dict[str, dict[str, list[str]]] = {}  # role -> first word -> names
        for rule in grammar.of_kind("sentence"):
            by_word = self._sentence_rules.setdefault(rule.group, {})
            for word in sorted(self._rule_first_words(rule.name)[0]):
                by_word.setdefault(word, []).append(rule.name)

    def read(self, text: str) -> Reading:
        """Parse a text; any string is allowed.

        Sentences of more than 60 words, and all after the 200th, are not accepted.
        """
        count, unfinished = 0, False
        tags: list[Tags] = []
        for sentence in split_sentences(text):
            if not sentence.complete:
                unfinished = True
                continue
            count += 1
            found = self.sentence_tags(sentence) if count <= MAX_SENTENCES else None
            if found is not None:
                tags.append(found)
        total = summarize(tags)
        scales = (total.sentiment, total.politeness, total.helpfulness)
        return Reading(count, len(tags), *scales, total.category, unfinished)

    def sentence_tags(self, sentence: Sentence) -> Tags | None:
        """The tags of one complete sentence, or None if it is not accepted."""
        key = (sentence.role, sentence.words)
        if len(sentence.words) > MAX_WORDS:
            return None
        if key not in self._parsed:
            if len(self._parsed) >= _CACHE_SIZE:
                self._parsed.clear()
            self._parsed[key] = self._parse(sentence)
        return self._parsed[key]

    def _parse(self, sentence: Sentence) -> Tags | None:
        normalized = _normalize(sentence.words)
        if normalized is None:
            return None
        words, starts = normalized
        for role in _ROLES[sentence.role]:
            for start in starts:
                words[0] = start
                memo: Memo = {}
                for name in self._sentence_rules.get(role, {}).get(start, ()):
                    ends = self._rule_ends(name, 0, words, memo)
                    if len(words) in ends:
                        return ends[len(words)]
        return None

    def _rule_ends(self, name: str, start: int, words: list[str], memo: Memo) -> Ends:
        """All positions at which the rule can end if it starts at ``start``."""
        known = memo.get((name, start))
        if known is not None:
            return known
        candidates = self._candidates[name]
        word = words[start] if start < len(words) else _UNKNOWN
        ends: Ends = {}
        for alternative in candidates.by_word.get(word, candidates.empty):
            for end, tags in self._alternative_ends(alternative, start, words, memo).items():
                ends.setdefault(end, merge(tags, alternative.tags))
        memo[name, start] = ends
        return ends

    def _alternative_ends(self, alternative: Alternative, start: int, words: list[str], memo: Memo) -> Ends:
        """As ``_rule_ends``, for one alternative and without its own tags."""
        ends: Ends = {start: ()}
        for item in alternative.items:
            following: Ends = {}
            for position, tags in ends.items():
                if item.is_rule:
                    for end, more in self._rule_ends(item.value, position, words, memo).items():
                        following.setdefault(end, tags + more)
                elif position < len(words) and words[position] == item.value:
                    following[position + 1] = tags
            ends = following
            if not ends:
                break
        return ends

    def _rule_first_words(self, name: str) -> FirstWords:
        if name not in self._first_words:
            parts = [self._alternative_first_words(a) for a in self._grammar.rules[name].alternatives]
            words = frozenset(word for some, _ in parts for word in some)
            self._first_words[name] = (words, any(empty for _, empty in parts))
        return self._first_words[name]

    def _alternative_first_words(self, alternative: Alternative) -> FirstWords:
        words: frozenset[str] = frozenset()
        for item in alternative.items:
            first, empty = self._rule_first_words(item.value) if item.is_rule else (frozenset((item.value,)), False)
            words |= first
            if not empty:
                return words, False
        return words, True

    def _candidates_of(self, name: str) -> _Candidates:
        by_word: dict[str, list[Alternative]] = {word: [] for word in sorted(self._rule_first_words(name)[0])}
        can_be_empty: list[Alternative] = []
        for alternative in self._grammar.rules[name].alternatives:
            first, empty = self._alternative_first_words(alternative)
            for word in by_word:
                if empty or word in first:
                    by_word[word].append(alternative)
            if empty:
                can_be_empty.append(alternative)
        return _Candidates({word: tuple(some) for word, some in by_word.items()}, tuple(can_be_empty))


def _normalize(words: tuple[str, ...]) -> tuple[list[str], list[str]] | None:
    """The words with "a" for every article, and the forms that the first word can have in the grammar.

    None if a word cannot occur in the grammar, the first one has no capital, or an article does not fit its next word.
    """
    if _UNKNOWN in words or not (words[0][0].isupper() or words[0][0].isdigit()):
        return None
    normalized = list(words)
    starts = [words[0][0].lower() + words[0][1:], words[0]]
    for i, word in enumerate(words[:-1]):
        if word in ("a", "an") or (i == 0 and word in ("A", "An")):
            if article(words[i + 1]) != word.lower():
                return None
            normalized[i] = "a"
            starts = ["a"] if i == 0 else starts
    return normalized, starts
