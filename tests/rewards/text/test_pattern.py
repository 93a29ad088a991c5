"""The reward ``pattern``."""

from rlnlp.rewards.text.pattern import pattern


def test_pattern_is_1_where_the_expression_is_found():
    assert pattern(["order 12", "no order", ""], r"\d+") == [1, 0, 0]
    assert pattern(["Yes", "yes"], "(?i)^YES$") == [1, 1]
