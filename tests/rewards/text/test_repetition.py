"""The reward ``repetition``: by hand and against a slow count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlnlp.rewards.text.repetition import repetition


@pytest.mark.parametrize(
    ("text", "n", "value"),
    [("", 3, 1), ("a b", 3, 1), ("a b c", 3, 1), ("a a a a", 3, 0.5), ("a b a b", 2, 2 / 3), ("a A b", 1, 2 / 3),
     ("so " * 12, 3, 0.1)],
)  # fmt: skip
def test_repetition_is_1_minus_the_fraction_of_ngrams_that_occurred_before(text, n, value):
    assert repetition([text], n) == [pytest.approx(value)]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 4))
def test_repetition_matches_a_slow_count(tokens, n):
    runs = [tokens[i : i + n] for i in range(len(tokens) - n + 1)]
    again = sum(runs[i] in runs[:i] for i in range(len(runs)))
    assert repetition([" ".join(tokens)], n) == [pytest.approx(1 - again / len(runs) if runs else 1)]
