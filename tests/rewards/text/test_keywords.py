"""The reward ``keywords`` against numbers worked out by hand."""

import pytest

from rlnlp.rewards.text.keywords import keywords


@pytest.mark.parametrize(
    ("wanted", "text", "value"),
    [
        (["cat"], "The CAT.", 1), (["cat"], "concatenate cats", 0), (["cat", "dog"], "a cat", 0.5),
        (["thank you", "sorry"], "Thank, you!", 0.5), (["you thank"], "thank you", 0), (["Straße"], "STRASSE", 1),
        (["well-made", "don't"], "well-made; don’t", 1), (["a"], "", 0),
    ],
)  # fmt: skip
def test_keywords_are_found_as_whole_words_in_any_case(wanted, text, value):
    assert keywords([text], wanted) == [value]
