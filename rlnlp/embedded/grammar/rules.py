"""Reading of rule files into a grammar.

A rule file is plain text. `#` starts a comment; indented lines continue the rule above them.

    name = first way | 3: second way, three times as likely {sentiment=0.5}
    sentence ROLE name = the <noun.food> was (warm|hot) [and fresh].
    text DOMAIN name = Customer: <complaint> Agent: <reply>
    same name.film = film | movie                       # the first choice is kept for the whole text
    opinion.*.* = the <noun.$1.$2> <was.$2> <good.$1>

`<name>` stands for another rule, `(a|b)` for a choice on the spot, `[a|b]` for one that may be left out, and `_` for
nothing. A `*` in a name fits any one part of a dotted name (not the first), and `$1`, `$2` ... give the parts that
fitted; of several patterns, the one with the leftmost exact part wins. A tag replaces what the parts of its alternative
say about the same attribute. The word `a` is written "a" or "an", as the next word asks.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlnlp.embedded.grammar.tags import Marks, marks_of

MARKERS = {"Customer:": "customer", "Agent:": "agent", "Comment:": "comment"}
END_MARKS = (".", "!", "?")

_HEAD = re.compile(r"(?:(same|text [a-z]+|sentence [a-z]+) )?([a-z_]+(?:\.(?:[a-z0-9_]+|\*))*) *=(?= |$)")
_TOKEN = re.compile(
    r"\s*(<[a-z0-9_.$]+>|\{[^{}]*\}|[()\[\]|.,!?;]|_(?![\w])|\d+(?:\.\d+)?:(?=\s|$)|[A-Za-z0-9][A-Za-z0-9'-]*:?)"
)
_YOU_SOUND = ("uni", "use", "usu", "euro", "one-", "ufo")
_SILENT_H = ("hour", "honest", "honour", "heir")


class RuleError(ValueError):
    """A rule file that cannot be used; the message names the file and the line."""


@dataclass(frozen=True)
class Item:
    """One word or one name of a rule inside an alternative."""

    value: str
    is_rule: bool


@dataclass(frozen=True)
class Alternative:
    """One way to write a rule, with its weight and its tags."""

    items: tuple[Item, ...]
    weight: float
    marks: Marks


@dataclass(frozen=True)
class Rule:
    """A named choice between alternatives.

    `kind` is "rule", "same" (it keeps its first choice within a text), "sentence" or "text"; `group` is the role of a
    sentence or the domain of a text.
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
        """The rules of one kind (and one group, if given), in the order in which they were reached."""
        return tuple(r for r in self.rules.values() if r.kind == kind and group in (None, r.group))


@dataclass(frozen=True)
class _Part:
    value: str
    choices: tuple[_Choice, ...] = ()


@dataclass(frozen=True)
class _Choice:
    parts: tuple[_Part, ...]
    weight: float
    marks: Marks


@dataclass(frozen=True)
class _Definition:
    location: str
    kind: str
    group: str
    name: str
    choices: tuple[_Choice, ...]


def article(word: str) -> str:
    """The article "a" or "an" that goes before a word."""
    low = word.lower()
    if low.startswith(_SILENT_H):
        return "an"
    if low.startswith(_YOU_SOUND) and not low.startswith("unin") and not low.startswith("unim"):
        return "a"
    return "an" if low[:1] in ("a", "e", "i", "o", "u") or low in ("8", "11", "18", "80") else "a"


class _Body:
    """The tokens behind one `=`, read from left to right."""

    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.at = 0
        self.location = tokens[0][1] if tokens else ""

    def take(self) -> str:
        """The next token, or an empty string behind the last one."""
        if self.at == len(self.tokens):
            return ""
        token, self.location = self.tokens[self.at]
        self.at += 1
        return token

    def choices(self, closing: str) -> tuple[_Choice, ...]:
        """The alternatives up to the closing token.

        Raises:
            RuleError: a bracket is missing, or an alternative is empty.
        """
        found: list[_Choice] = []
        parts: list[_Part] = []
        weight, empty = 1.0, True
        marks: Marks = ()
        while True:
            token = self.take()
            if token in ("|", closing):
                if empty:
                    raise RuleError(f"{self.location}: an alternative is empty; write _ for nothing")
                found.append(_Choice(tuple(parts), weight, marks))
                if token == closing:
                    return tuple(found)
                parts, weight, marks, empty = [], 1.0, (), True
                continue
            if token in ("", ")", "]"):
                raise RuleError(f"{self.location}: expected {closing or 'the end'!r}, found {token or 'the end'!r}")
            if re.fullmatch(r"[\d.]+:", token):
                weight = float(token[:-1])
                continue
            empty = False
            if token.startswith("{"):
                marks = self.tagged(token)
            elif token in ("(", "["):
                parts.append(self.group(token))
            elif token != "_":
                parts.append(_Part(token))

    def tagged(self, token: str) -> Marks:
        """The marks of a tag in the file."""
        try:
            return marks_of(token)
        except ValueError as error:
            raise RuleError(f"{self.location}: {error}") from error

    def group(self, opening: str) -> _Part:
        """The choice in brackets that starts here; square brackets add the choice of nothing, half of the time."""
        choices = self.choices(")" if opening == "(" else "]")
        if opening == "[":
            choices = (*choices, _Choice((), sum(choice.weight for choice in choices), ()))
        return _Part("", choices)


def _definitions(source: str, text: str) -> list[_Definition]:
    heads: list[tuple[str, re.Match[str], list[tuple[str, str]]]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line, location = raw.split("#")[0].rstrip(), f"{source}:{number}"
        if not line:
            continue
        at = 0
        if not line[0].isspace():
            head = _HEAD.match(line)
            if head is None:
                raise RuleError(f"{location}: expected 'name = ...'")
            heads.append((location, head, []))
            at = head.end()
        elif not heads:
            raise RuleError(f"{location}: an indented line before the first rule")
        while at < len(line):
            token = _TOKEN.match(line, at)
            if token is None:
                raise RuleError(f"{location}: cannot read {line[at:].strip()[:20]!r}")
            heads[-1][2].append((token[1], location))
            at = token.end()
    found = []
    for location, head, tokens in heads:
        if not tokens:
            raise RuleError(f"{location}: nothing behind '='")
        body = _Body([*tokens, ("", tokens[-1][1])])
        kind, _, group = (head[1] or "rule").partition(" ")
        found.append(_Definition(location, kind, group, head[2], body.choices("")))
    return found


class _Builder:
    """Turns definitions, patterns among them, into the rules that the texts reach."""

    def __init__(self, definitions: Sequence[_Definition]) -> None:
        self.by_name: dict[str, _Definition] = {}
        self.families: dict[str, list[_Definition]] = {}
        for one in definitions:
            if one.name in self.by_name:
                raise RuleError(f"{one.location}: {one.name} is already defined at {self.by_name[one.name].location}")
            self.by_name[one.name] = one
            self.families.setdefault(one.name.split(".")[0], []).append(one)
        self.rules: dict[str, Rule] = {}
        self.open: set[str] = set()

    def find(self, name: str, location: str) -> tuple[_Definition, list[str]]:
        """The definition that fits a name, and the parts that its stars stand for."""
        parts = name.split(".")
        fits: list[tuple[list[bool], _Definition, list[str]]] = []
        for one in self.families.get(parts[0], ()):
            pattern = one.name.split(".")
            if len(pattern) == len(parts) and all(p in ("*", q) for p, q in zip(pattern, parts, strict=True)):
                stars = [q for p, q in zip(pattern, parts, strict=True) if p == "*"]
                fits.append(([p == "*" for p in pattern], one, stars))
        if not fits:
            raise RuleError(f"{location}: no rule fits <{name}>")
        _, one, stars = min(fits, key=lambda fit: fit[0])
        return one, stars

    def build(self, name: str, location: str) -> None:
        """Adds a rule and all that it uses; a rule that comes back to itself is refused."""
        if name in self.open:
            raise RuleError(f"{location}: <{name}> leads back to itself")
        if name in self.rules:
            return
        one, stars = self.find(name, location)
        self.open.add(name)
        self.add(name, one, one.choices, stars)
        self.open.remove(name)

    def add(self, name: str, one: _Definition, choices: Sequence[_Choice], stars: Sequence[str]) -> None:
        """Adds the rule of one set of choices; a choice in brackets becomes a rule of its own."""
        alternatives: list[Alternative] = []
        inner = 0
        for choice in choices:
            items: list[Item] = []
            for part in choice.parts:
                value = part.value
                if part.choices:
                    inner += 1
                    value = f"{name}~{inner}"
                    plain = _Definition(one.location, "rule", "", one.name, ())
                    self.add(value, plain, part.choices, stars)
                elif value.startswith("<"):
                    for i, star in enumerate(stars, 1):
                        value = value.replace(f"${i}", star)
                    value = value.strip("<>")
                    self.build(value, one.location)
                items.append(Item(value, bool(part.choices) or part.value.startswith("<")))
            alternatives.append(Alternative(tuple(items), choice.weight, choice.marks))
        self.rules[name] = Rule(name, one.kind, one.group, tuple(alternatives))


def parse(sources: Sequence[tuple[str, str]]) -> Grammar:
    """The grammar of some rule files, given as (name, content) pairs.

    Raises:
        RuleError: a file cannot be read, a name is unknown or defined twice, or a rule leads back to itself.
    """
    builder = _Builder([one for source, text in sources for one in _definitions(source, text)])
    for one in list(builder.by_name.values()):
        if one.kind == "text" and "*" not in one.name:
            builder.build(one.name, one.location)
    return Grammar(builder.rules)


@functools.cache
def load() -> Grammar:
    """The grammar of the rule files that lie beside this module.

    Raises:
        RuleError: one of the files is broken.
    """
    folder = Path(__file__).parent
    return parse([(p.name, p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.rules"))])
