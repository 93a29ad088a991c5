"""The reward ``diversity`` against numbers worked out by hand."""

import pytest

from rlnlp.rewards.text.diversity import diversity


@pytest.mark.parametrize(
    ("text", "value"), [("", 0), ("?!", 0), ("one", 1), ("one One ONE", 1 / 3), ("a b a b", 1 / 2), ("a b, a c", 3 / 4)]
)
def test_diversity_is_distinct_words_over_words(text, value):
    assert diversity([text]) == [value]
