"""An embedded language: a grammar that writes short texts and reads them again."""

from rlnlp.embedded.grammar.read import Reader, Reading, taste
from rlnlp.embedded.grammar.rules import Grammar, RuleError, load, parse
from rlnlp.embedded.grammar.tags import CATEGORIES, Attributes
from rlnlp.embedded.grammar.write import Text, write

__all__ = [
    "CATEGORIES",
    "Attributes",
    "Grammar",
    "Reader",
    "Reading",
    "RuleError",
    "Text",
    "load",
    "parse",
    "taste",
    "write",
]
