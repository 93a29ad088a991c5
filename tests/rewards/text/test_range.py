"""Every text reward is in [0, 1] for any text."""

from hypothesis import given
from hypothesis import strategies as st

from rlnlp.rewards.text.diversity import diversity
from rlnlp.rewards.text.length import length
from rlnlp.rewards.text.sentiment import sentiment
from rlnlp.rewards.text.similarity import similarity


@given(st.lists(st.text(), max_size=4))
def test_text_terms_are_between_0_and_1_for_any_text(texts):
    references = [text[::-1] for text in texts]
    for values in (length(texts, 5, 20), diversity(texts), sentiment(texts), similarity(texts, references)):
        assert len(values) == len(texts)
        assert all(0 <= value <= 1 for value in values)
