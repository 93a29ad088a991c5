"""The embedded language: a grammar that generates short texts and parses them again."""

from rlnlp.embedded.grammar.read import Reader, Reading, gold_score
from rlnlp.embedded.grammar.rule_file import RuleError
from rlnlp.embedded.grammar.rules import Grammar, load_grammar, parse_grammar
from rlnlp.embedded.grammar.tags import CATEGORIES, Attributes
from rlnlp.embedded.grammar.write import Text, write_text

__all__ = [
    "CATEGORIES",
    "Attributes",
    "Grammar",
    "Reader",
    "Reading",
    "RuleError",
    "Text",
    "gold_score",
    "load_grammar",
    "parse_grammar",
    "write_text",
]
