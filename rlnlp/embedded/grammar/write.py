"""Generate texts from the grammar."""

import bisect
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from rlnlp.embedded.grammar.rules import ROLE_MARKERS, SENTENCE_ENDS, Alternative, Grammar, Rule, article
from rlnlp.embedded.grammar.tags import Attributes, Tags, merge, summarize

# Words that can be repeated within one text.
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
_ATTACHED = (",", ";", *SENTENCE_ENDS)  # written without a space before them


@dataclass(frozen=True)
class Text:
    """A generated text with its sentences, its attributes and its domain.

    ``open_words`` is the number of words (role markers included) before the first opinion, or of all words if there is
    none.
    """

    text: str
    sentences: tuple[str, ...]
    attributes: Attributes
    domain: str
    open_words: int


def write_text(grammar: Grammar, rng: random.Random, start: str) -> Text:
    """A text generated from the rule ``start``: the name of a domain or of any other rule.

    Raises:
        KeyError: the grammar has no such rule.
    """
    draft = _Draft(grammar, rng)
    tags = draft.expand(start)
    rule = grammar.rules[start]
    sentences = render(draft.words)
    before_opinion = draft.words[: draft.first_opinion]
    open_words = sum(word not in _ATTACHED for word in before_opinion)
    return Text(" ".join(sentences), sentences, summarize(draft.tags or [tags]), rule.group, open_words)


def render(words: list[str]) -> tuple[str, ...]:
    """The sentences in a list of words, with capitals, articles and spaces; a role marker begins its sentence."""
    sentences: list[str] = []
    line = ""
    at_start = True
    for i, word in enumerate(words):
        if word in ROLE_MARKERS:
            line += f"{word} "
            continue
        if word in _ATTACHED:
            line = line.rstrip() + word
        else:
            shown = article(words[i + 1]) if word == "a" and i + 1 < len(words) else word
            line += shown[:1].upper() + shown[1:] if at_start else shown
        at_start = word in SENTENCE_ENDS
        if at_start:
            sentences.append(line)
            line = ""
        else:
            line += " "
    return (*sentences, line.strip()) if line.strip() else tuple(sentences)


class _Draft:
    """One text while it is being generated."""

    def __init__(self, grammar: Grammar, rng: random.Random) -> None:
        self.grammar = grammar
        self.rng = rng
        self.words: list[str] = []
        self.tags: list[Tags] = []  # of each sentence
        self.used_alternatives: set[tuple[str, int]] = set()
        self.used_words: set[str] = set()
        self.fixed_choices: dict[str, int] = {}  # of the rules of kind "same"
        self.first_opinion: int | None = None  # position in words

    def expand(self, name: str) -> Tags:
        """Append the words of one rule, and return its tags."""
        rule = self.grammar.rules[name]
        alternative = self.choose(rule)
        inner: Tags = ()
        if self.first_opinion is None and any(scale == "sentiment" for scale, _ in alternative.tags):
            self.first_opinion = len(self.words)
        for item in alternative.items:
            if item.is_rule:
                inner += self.expand(item.value)
            else:
                self.words.append(item.value)
                if item.value[0].isalpha() and item.value.lower() not in _COMMON:
                    self.used_words.add(item.value)
        tags = merge(inner, alternative.tags)
        if rule.kind == "sentence":
            self.tags.append(tags)
        return tags

    def choose(self, rule: Rule) -> Alternative:
        """A random alternative, if possible one that repeats nothing in the text."""
        alternatives = rule.alternatives
        if len(alternatives) == 1:
            return alternatives[0]
        if rule.name in self.fixed_choices:
            return alternatives[self.fixed_choices[rule.name]]
        chosen = self.draw(range(len(alternatives)), alternatives)
        if not self.is_unused(rule.name, chosen, alternatives[chosen]):
            unused = [i for i, a in enumerate(alternatives) if self.is_unused(rule.name, i, a)]
            chosen = self.draw(unused, alternatives) if unused else chosen
        if len(alternatives) > 2:
            self.used_alternatives.add((rule.name, chosen))
        if rule.kind == "same":
            self.fixed_choices[rule.name] = chosen
        return alternatives[chosen]

    def draw(self, indices: Sequence[int], alternatives: Sequence[Alternative]) -> int:
        """One of the indices, drawn by the weights of their alternatives."""
        totals = list(itertools.accumulate(alternatives[i].weight for i in indices))
        return indices[bisect.bisect_right(totals, self.rng.random() * totals[-1], 0, len(totals) - 1)]

    def is_unused(self, name: str, index: int, alternative: Alternative) -> bool:
        """True if neither the alternative nor any of its words (common ones excepted) occurs in the text yet."""
        if (name, index) in self.used_alternatives:
            return False
        return not any(item.value in self.used_words for item in alternative.items)
