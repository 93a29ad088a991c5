"""An embedded language: a grammar that writes short texts and reads them again."""

from rlnlp.data.grammar.read import Reader, Reading, taste
from rlnlp.data.grammar.rules import Grammar, RuleError, load, parse
from rlnlp.data.grammar.tags import CATEGORIES, Attributes
from rlnlp.data.grammar.write import Text, write

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
