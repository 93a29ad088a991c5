"""The rules of a grammar, and how they are built from rule files."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlnlp.embedded.grammar.rule_file import ParsedAlternative, ParsedRule, RuleError, parse_file
from rlnlp.embedded.grammar.tags import Tags

ROLE_MARKERS = {"Customer:": "customer", "Agent:": "agent", "Comment:": "comment"}
SENTENCE_ENDS = (".", "!", "?")

_CONSONANT_U = ("uni", "use", "usu", "euro", "one-", "ufo")
_SILENT_H = ("hour", "honest", "honour", "heir")


@dataclass(frozen=True)
class Item:
    """A word or a rule's name inside an alternative."""

    value: str
    is_rule: bool


@dataclass(frozen=True)
class Alternative:
    """One expansion of a rule, with its weight and its tags."""

    items: tuple[Item, ...]
    weight: float
    tags: Tags


@dataclass(frozen=True)
class Rule:
    """A named choice between alternatives.

    ``kind`` is "rule", "same" (keeps its first choice within a text), "sentence" or "text"; ``group`` is the role of
    a sentence or the domain of a text.
    """

    name: str
    kind: str
    group: str
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True)
class Grammar:
    """All rules that can be reached from the texts, by name."""

    rules: dict[str, Rule] = field(repr=False)

    def of_kind(self, kind: str, group: str | None = None) -> tuple[Rule, ...]:
        """The rules of one kind (and one group, if given), in the order in which they were added."""
        return tuple(r for r in self.rules.values() if r.kind == kind and group in (None, r.group))


def article(word: str) -> str:
    """The article "a" or "an" to write before ``word``."""
    lower = word.lower()
    if lower.startswith(_SILENT_H):
        return "an"
    if lower.startswith(_CONSONANT_U) and not lower.startswith("unin") and not lower.startswith("unim"):
        return "a"
    return "an" if lower[:1] in ("a", "e", "i", "o", "u") or lower in ("8", "11", "18", "80") else "a"


def parse_grammar(sources: Sequence[tuple[str, str]]) -> Grammar:
    """The grammar in some rule files, given as (name, content) pairs.

    Raises:
        RuleError: a file cannot be parsed, a name is unknown or defined twice, or a rule refers to itself.
    """
    builder = _Builder([rule for source, text in sources for rule in parse_file(source, text)])
    for rule in list(builder.parsed.values()):
        if rule.kind == "text" and "*" not in rule.name:
            builder.add_rule(rule.name, rule.location)
    return Grammar(builder.rules)


@functools.cache
def load_grammar() -> Grammar:
    """The grammar in the rule files of this package.

    Raises:
        RuleError: one of the files is invalid.
    """
    folder = Path(__file__).parent
    return parse_grammar([(p.name, p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.rules"))])


class _Builder:
    """Expands parsed rules, wildcards included, into the rules that the texts refer to."""

    def __init__(self, parsed: Sequence[ParsedRule]) -> None:
        self.parsed: dict[str, ParsedRule] = {}
        self.by_first_part: dict[str, list[ParsedRule]] = {}
        for rule in parsed:
            if rule.name in self.parsed:
                first = self.parsed[rule.name].location
                raise RuleError(f"{rule.location}: {rule.name} is already defined at {first}")
            self.parsed[rule.name] = rule
            self.by_first_part.setdefault(rule.name.split(".")[0], []).append(rule)
        self.rules: dict[str, Rule] = {}
        self.in_progress: set[str] = set()

    def match(self, name: str, location: str) -> tuple[ParsedRule, list[str]]:
        """The parsed rule that ``name`` matches, and the parts that its wildcards stand for.

        Raises:
            RuleError: no rule matches.
        """
        parts = name.split(".")
        matches: list[tuple[list[bool], ParsedRule, list[str]]] = []
        for rule in self.by_first_part.get(parts[0], ()):
            pattern = rule.name.split(".")
            if len(pattern) == len(parts) and all(p in ("*", q) for p, q in zip(pattern, parts, strict=True)):
                wildcards = [q for p, q in zip(pattern, parts, strict=True) if p == "*"]
                matches.append(([p == "*" for p in pattern], rule, wildcards))
        if not matches:
            raise RuleError(f"{location}: no rule matches <{name}>")
        _, rule, wildcards = min(matches, key=lambda match: match[0])
        return rule, wildcards

    def add_rule(self, name: str, location: str) -> None:
        """Add a rule and all that it refers to.

        Raises:
            RuleError: no rule matches, or the rule refers to itself.
        """
        if name in self.in_progress:
            raise RuleError(f"{location}: <{name}> refers to itself")
        if name in self.rules:
            return
        rule, wildcards = self.match(name, location)
        self.in_progress.add(name)
        self.expand(name, rule, rule.alternatives, wildcards)
        self.in_progress.remove(name)

    def expand(
        self, name: str, rule: ParsedRule, parsed: Sequence[ParsedAlternative], wildcards: Sequence[str]
    ) -> None:
        """Add a rule with the given alternatives; each inline choice becomes a rule of its own, ``name~1``, ..."""
        alternatives: list[Alternative] = []
        inline = 0
        for alternative in parsed:
            items: list[Item] = []
            for item in alternative.items:
                value = item.value
                if item.alternatives:
                    inline += 1
                    value = f"{name}~{inline}"
                    plain = ParsedRule(rule.location, "rule", "", rule.name, ())
                    self.expand(value, plain, item.alternatives, wildcards)
                elif value.startswith("<"):
                    for i, part in enumerate(wildcards, 1):
                        value = value.replace(f"${i}", part)
                    value = value.strip("<>")
                    self.add_rule(value, rule.location)
                items.append(Item(value, bool(item.alternatives) or item.value.startswith("<")))
            alternatives.append(Alternative(tuple(items), alternative.weight, alternative.tags))
        self.rules[name] = Rule(name, rule.kind, rule.group, tuple(alternatives))
