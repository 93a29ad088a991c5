"""Writing of texts by the grammar."""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from rlnlp.embedded.grammar.rules import END_MARKS, MARKERS, Alternative, Grammar, Rule, article
from rlnlp.embedded.grammar.tags import Attributes, Marks, merge, summarise

# Words that may come back in one text without sounding repeated.
# fmt: off
_COMMON = frozenset(
    [
        "a", "about", "after", "all", "am", "and", "any", "are", "as", "at", "be", "been", "before", "but", "by",
        "can", "could", "do", "does", "for", "from", "had", "has", "have", "he", "her", "here", "his", "how", "i",
        "if", "in", "is", "it", "its", "just", "me", "more", "most", "my", "no", "not", "of", "on", "one", "or",
        "our", "out", "she", "should", "so", "some", "than", "that", "the", "their", "them", "then", "there", "these",
        "they", "this", "to", "too", "up", "us", "very", "was", "we", "were", "what", "when", "where", "which", "who",
        "will", "with", "would", "you", "your",
    ]
)
# fmt: on
_ATTACHED = (",", ";", *END_MARKS)  # they stand close to the word before them


@dataclass(frozen=True)
class Text:
    """A written text, its sentences, its attributes and the domain that it comes from.

    `open_words` counts the words (a marker is one) before the first opinion; all of them, if there is none.
    """

    text: str
    sentences: tuple[str, ...]
    attributes: Attributes
    domain: str
    open_words: int


class _Draft:
    """One text while it is being written."""

    def __init__(self, grammar: Grammar, rng: random.Random) -> None:
        self.grammar = grammar
        self.rng = rng
        self.words: list[str] = []
        self.marks: list[Marks] = []
        self.used: set[tuple[str, int]] = set()
        self.said: set[str] = set()
        self.kept: dict[str, int] = {}
        self.opinion_at: int | None = None

    def choose(self, rule: Rule) -> Alternative:
        """An alternative by weight, if possible one that brings nothing said before."""
        alternatives = rule.alternatives
        if len(alternatives) == 1:
            return alternatives[0]
        if rule.name in self.kept:
            return alternatives[self.kept[rule.name]]
        at = self.draw(range(len(alternatives)), alternatives)
        if not self.is_fresh(rule.name, at, alternatives[at]):
            fresh = [i for i, a in enumerate(alternatives) if self.is_fresh(rule.name, i, a)]
            at = self.draw(fresh, alternatives) if fresh else at
        if len(alternatives) > 2:
            self.used.add((rule.name, at))
        if rule.kind == "same":
            self.kept[rule.name] = at
        return alternatives[at]

    def draw(self, options: Sequence[int], alternatives: Sequence[Alternative]) -> int:
        """One of the options, drawn by the weights of the alternatives there."""
        totals = list(itertools.accumulate(alternatives[option].weight for option in options))
        return options[bisect.bisect_right(totals, self.rng.random() * totals[-1], 0, len(totals) - 1)]

    def is_fresh(self, name: str, at: int, alternative: Alternative) -> bool:
        """Whether neither the alternative nor one of its longer words has been used in this text."""
        if (name, at) in self.used:
            return False
        return not any(item.value in self.said for item in alternative.items)

    def derive(self, name: str) -> Marks:
        """Writes one rule and returns its marks."""
        rule = self.grammar.rules[name]
        chosen = self.choose(rule)
        inner: Marks = ()
        if self.opinion_at is None and any(scale == "sentiment" for scale, _ in chosen.marks):
            self.opinion_at = len(self.words)
        for item in chosen.items:
            if item.is_rule:
                inner += self.derive(item.value)
            else:
                self.words.append(item.value)
                if item.value[0].isalpha() and item.value.lower() not in _COMMON:
                    self.said.add(item.value)
        marks = merge(inner, chosen.marks)
        if rule.kind == "sentence":
            self.marks.append(marks)
        return marks


def render(words: list[str]) -> tuple[str, ...]:
    """The sentences of a list of words, with capitals, articles and spaces; a marker stays with its sentence."""
    sentences: list[str] = []
    line = ""
    start = True
    for at, word in enumerate(words):
        if word in MARKERS:
            line += f"{word} "
            continue
        if word in _ATTACHED:
            line = line.rstrip() + word
        else:
            shown = article(words[at + 1]) if word == "a" and at + 1 < len(words) else word
            line += shown[:1].upper() + shown[1:] if start else shown
        start = word in END_MARKS
        if start:
            sentences.append(line)
            line = ""
        else:
            line += " "
    return (*sentences, line.strip()) if line.strip() else tuple(sentences)


def write(grammar: Grammar, rng: random.Random, start: str) -> Text:
    """A text written from the rule `start`, which is the name of a domain or of any other rule.

    Raises:
        KeyError: the grammar has no such rule.
    """
    draft = _Draft(grammar, rng)
    marks = draft.derive(start)
    rule = grammar.rules[start]
    sentences = render(draft.words)
    before = draft.words[: draft.opinion_at]
    open_words = sum(word not in _ATTACHED for word in before)
    return Text(" ".join(sentences), sentences, summarise(draft.marks or [marks]), rule.group, open_words)
