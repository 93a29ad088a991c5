"""The reward ``length`` against numbers worked out by hand."""

import pytest

from rlnlp.rewards.text.length import length


@pytest.mark.parametrize(
    ("count", "value"), [(0, 0), (1, 0.2), (4, 0.8), (5, 1), (12, 1), (20, 1), (25, 0.75), (30, 0.5), (40, 0), (60, 0)]
)
def test_length_is_1_in_the_range_and_falls_linearly_to_0_at_no_word_and_at_twice_the_top(count, value):
    assert length(["word " * count], 5, 20) == [pytest.approx(value, abs=1e-12)]
