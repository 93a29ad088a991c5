"""Words for people: numbers with their nouns."""

import ast
from itertools import pairwise

import pytest

from rlnlp.errors import counted
from test_architecture import FILES, place, tree

NOUNS = (
    "checkpoints", "cores", "epochs", "faults", "jobs", "layers", "lines", "minibatches", "prompts", "records",
    "responses", "runs", "settings", "steps", "terms", "texts", "threads", "tokens", "updates", "words",
)  # fmt: skip
NEVER_ONE = {  # no number of one: sizes of vocabularies and contexts, constants, numbers of several, decimals; words
    "{BUDGET} steps", "{len(steps)} steps", "{tokens:,} tokens", "{rows} tokens", "{len(tokenizer.raw)} tokens",
    "{context} tokens", "{every:,} steps",
    "{self.responses} responses", "{count} responses", "{count} jobs", "{what} prompts",
    "{number(after[0], 1)} tokens", "{what} texts", "{mean:.1f} tokens", "{FEW} prompts", "{WORDS_A_MINUTE:,} words",
    "{len(reader.start) + 2} tokens", "{token_count(tokenizer):,} tokens", "{mean['response_tokens']:.1f} tokens",
}  # fmt: skip


@pytest.mark.parametrize(
    ("number", "nouns", "text"),
    [
        (1, ("step",), "1 step"),
        (0, ("step",), "0 steps"),
        (1000, ("minibatch", "minibatches"), "1,000 minibatches"),
        (1, ("minibatch", "minibatches"), "1 minibatch"),
    ],
)
def test_a_number_has_its_noun_in_the_singular_or_the_plural(number, nouns, text):
    assert counted(number, *nouns) == text


def test_no_message_puts_a_number_before_a_plural_that_one_of_it_would_make_wrong():
    found = set()
    for path in FILES:
        for node in ast.walk(tree(path)):
            parts = node.values if isinstance(node, ast.JoinedStr) else []
            for value, text in pairwise(parts):
                words = text.value.split(" ") if isinstance(text, ast.Constant) else []
                if isinstance(value, ast.FormattedValue) and len(words) > 1 and not words[0]:
                    noun = words[1].rstrip(".,:;)\n").partition("\n")[0]
                    if noun in NOUNS:
                        shown = ast.unparse(ast.JoinedStr([value]))[2:-1]
                        found.add((f"{shown} {noun}", place(path)))
    assert {phrase for phrase, _ in found} <= NEVER_ONE, sorted(found)
    assert len(found) >= 3, "the search finds those that are allowed"
