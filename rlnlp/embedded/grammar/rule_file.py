"""The syntax of rule files.

A rule file is plain text. ``#`` starts a comment; indented lines continue the rule above them.

    name = first alternative | 3: second alternative, three times as likely {sentiment=0.5}
    sentence ROLE name = the <noun.food> was (warm|hot) [and fresh].
    text DOMAIN name = Customer: <complaint> Agent: <reply>
    same name.film = film | movie                       # the first choice is kept for the whole text
    opinion.*.* = the <noun.$1.$2> <was.$2> <good.$1>

``<name>`` refers to another rule, ``(a|b)`` is an inline choice, ``[a|b]`` an optional one, and ``_`` is empty. A ``*``
in a name matches any one part of a dotted name (not the first), and ``$1``, ``$2`` ... are the parts that matched. If
several names match, they are compared part by part from the left, and an exact part wins over a ``*``. A tag replaces
the tags of its alternative's parts for the same attribute. The word ``a`` is written "a" or "an" depending on the next
word.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rlnlp.embedded.grammar.tags import Tags, parse_tags

_HEAD = re.compile(r"(?:(same|text [a-z]+|sentence [a-z]+) )?([a-z_]+(?:\.(?:[a-z0-9_]+|\*))*) *=(?= |$)")
_TOKEN = re.compile(
    r"\s*(<[a-z0-9_.$]+>|\{[^{}]*\}|[()\[\]|.,!?;]|_(?![\w])|\d+(?:\.\d+)?:(?=\s|$)|[A-Za-z0-9][A-Za-z0-9'-]*:?)"
)
_WEIGHT = re.compile(r"[\d.]+:")


class RuleError(ValueError):
    """A rule file that cannot be used; the message names the file and the line."""


@dataclass(frozen=True)
class ParsedItem:
    """A word, a reference ``<name>``, or an inline choice (then ``value`` is empty)."""

    value: str
    alternatives: "tuple[ParsedAlternative, ...]" = ()


@dataclass(frozen=True)
class ParsedAlternative:
    """One alternative of a rule or of an inline choice."""

    items: tuple[ParsedItem, ...]
    weight: float
    tags: Tags


@dataclass(frozen=True)
class ParsedRule:
    """A rule of a file; its name may have wildcards. ``location`` is ``file:line``."""

    location: str
    kind: str
    group: str
    name: str
    alternatives: tuple[ParsedAlternative, ...]


def parse_file(source: str, text: str) -> list[ParsedRule]:
    """The rules in ``text``, in order; ``source`` is the file's name, for messages.

    Raises:
        RuleError: the text does not follow the syntax.
    """
    parsed = []
    for location, head, tokens in _split_rules(source, text):
        if not tokens:
            raise RuleError(f"{location}: nothing after '='")
        body = _BodyParser([*tokens, ("", tokens[-1][1])])
        kind, _, group = (head[1] or "rule").partition(" ")
        parsed.append(ParsedRule(location, kind, group, head[2], body.alternatives("")))
    return parsed


class _BodyParser:
    """Parses the tokens after one ``=``, given as (token, location) pairs."""

    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.position = 0
        self.location = tokens[0][1]

    def next_token(self) -> str:
        """The next token, or an empty string after the last one."""
        if self.position == len(self.tokens):
            return ""
        token, self.location = self.tokens[self.position]
        self.position += 1
        return token

    def alternatives(self, closing: str) -> tuple[ParsedAlternative, ...]:
        """The alternatives up to the ``closing`` token; "" is the end of the rule."""
        parsed: list[ParsedAlternative] = []
        end = "|"
        while end == "|":
            alternative, end = self.alternative(closing)
            parsed.append(alternative)
        return tuple(parsed)

    def alternative(self, closing: str) -> tuple[ParsedAlternative, str]:
        """One alternative, and the token that ends it: ``|`` or ``closing``.

        Raises:
            RuleError: a bracket is missing, or the alternative is empty.
        """
        items: list[ParsedItem] = []
        weight, empty = 1.0, True
        tags: Tags = ()
        while (token := self.next_token()) not in ("|", closing):
            if token in ("", ")", "]"):
                raise RuleError(f"{self.location}: expected {closing or 'the end'!r}, found {token or 'the end'!r}")
            if _WEIGHT.fullmatch(token):
                weight = float(token[:-1])
                continue
            empty = False
            if token.startswith("{"):
                tags = self.tags(token)
            elif token in ("(", "["):
                items.append(self.inline_choice(token))
            elif token != "_":
                items.append(ParsedItem(token))
        if empty:
            raise RuleError(f"{self.location}: an alternative is empty; write _ for nothing")
        return ParsedAlternative(tuple(items), weight, tags), token

    def tags(self, token: str) -> Tags:
        """The tags in a ``{...}`` token.

        Raises:
            RuleError: a tag is unknown.
        """
        try:
            return parse_tags(token)
        except ValueError as error:
            raise RuleError(f"{self.location}: {error}") from error

    def inline_choice(self, opening: str) -> ParsedItem:
        """The choice in the brackets that start here; square brackets are empty half of the time."""
        alternatives = self.alternatives(")" if opening == "(" else "]")
        if opening == "[":
            nothing = ParsedAlternative((), sum(alternative.weight for alternative in alternatives), ())
            alternatives = (*alternatives, nothing)
        return ParsedItem("", alternatives)


def _split_rules(source: str, text: str) -> list[tuple[str, re.Match[str], list[tuple[str, str]]]]:
    """Location, head (match of ``_HEAD``) and (token, location) pairs of each rule in a file."""
    rules: list[tuple[str, re.Match[str], list[tuple[str, str]]]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line, location = raw.split("#")[0].rstrip(), f"{source}:{number}"
        if not line:
            continue
        start = 0
        if not line[0].isspace():
            head = _HEAD.match(line)
            if head is None:
                raise RuleError(f"{location}: expected 'name = ...'")
            rules.append((location, head, []))
            start = head.end()
        elif not rules:
            raise RuleError(f"{location}: an indented line before the first rule")
        rules[-1][2].extend((token, location) for token in _tokens(line[start:], location))
    return rules


def _tokens(text: str, location: str) -> list[str]:
    tokens: list[str] = []
    start = 0
    while start < len(text):
        token = _TOKEN.match(text, start)
        if token is None:
            raise RuleError(f"{location}: cannot parse {text[start:].strip()[:20]!r}")
        tokens.append(token[1])
        start = token.end()
    return tokens
