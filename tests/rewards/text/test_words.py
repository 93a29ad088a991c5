"""What counts as a word."""

import pytest

from rlnlp.rewards.text.words import words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        (" ... !? ", []),
        ("The cat, THE cat.", ["the", "cat", "the", "cat"]),
        ("I don't; it’s well-made", ["i", "don't", "it's", "well-made"]),
        ("snake_case 3.5 naïve", ["snake", "case", "3", "5", "naïve"]),
        ("'quoted' - dash", ["quoted", "dash"]),
    ],
)
def test_words_are_lower_case_without_punctuation(text, found):
    assert words(text) == found
