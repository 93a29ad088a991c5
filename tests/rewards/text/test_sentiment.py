"""The reward ``sentiment``: its lexicon and its rule for negation."""

import pytest

from rlnlp.rewards.text.sentiment import lexicon, sentiment, valences
from rlnlp.rewards.text.words import words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("great", [0.75]),
        ("a GREAT film, okay food", [0.75, 0.25]),
        ("great and terrible", [0.75, -1.0]),
        ("not great", [-0.375]),
        ("not terrible", [0.5]),
        ("it isn’t a great film", [-0.375]),
        ("never in my great", [-0.375]),
        ("never ever in my great", [0.75]),
        ("great, not", [0.75]),
        ("the table", []),
        ("", []),
    ],
)
def test_a_negation_within_three_words_before_reverses_and_halves_a_valence(text, found):
    assert valences(words(text)) == found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0.5), ("the table", 0.5), ("perfect", 1), ("terrible", 0), ("great", 0.875), ("not great", 0.3125),
        ("great and terrible", 0.5 * (1 + (0.75 - 1) / 2)),
    ],
)  # fmt: skip
def test_sentiment_is_the_mean_valence_scaled_to_0_and_1(text, value):
    assert sentiment([text]) == [pytest.approx(value)]


def test_every_word_of_the_lexicon_can_be_found_and_has_a_valence_within_1():
    known = lexicon()
    assert len(known) > 300
    assert all(words(word) == [word] for word in known)
    assert all(0 < abs(valence) <= 1 for valence in known.values())
