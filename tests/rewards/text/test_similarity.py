"""The reward ``similarity``: ROUGE-1 and ROUGE-L, by hand and against a slow search."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlnlp.errors import Failure
from rlnlp.rewards.text.similarity import similarity


@pytest.mark.parametrize(
    ("completion", "reference", "value"),
    [
        ("the cat sat", "the cat sat", 1),
        ("the the the", "the cat", 2 * 1 / 5),
        ("a b b", "b b c", 2 * 2 / 6),
        ("one two", "three", 0),
        ("", "three", 0),
        ("one", "", 0),
        ("", "", 0),
        ("Good, very GOOD", "very good good!", 1),
    ],
)
def test_similarity_is_the_f1_of_shared_words_counted_as_often_as_both_have_them(completion, reference, value):
    assert similarity([completion], [reference]) == [pytest.approx(value)]


def test_similarity_without_a_reference_is_exit_3_and_says_what_to_do():
    with pytest.raises(Failure, match=r"remove the term with '~reward\.terms\.similarity'") as failure:
        similarity(["a", "b"], ["a", None])
    assert failure.value.code == 3


@pytest.mark.parametrize(
    ("completion", "reference", "f1", "recall", "longest"),
    [
        ("police kill the gunman", "police killed the gunman", 3 / 4, 3 / 4, 3 / 4),  # the examples of Lin 2004
        ("the gunman kill police", "police killed the gunman", 3 / 4, 3 / 4, 2 / 4),
        ("the cat the", "the cat sat down", 4 / 7, 2 / 4, 4 / 7),
        ("", "the cat", 0, 0, 0),
        ("the cat", "", 0, 0, 0),
    ],
)
def test_the_measures_of_similarity_by_hand(completion, reference, f1, recall, longest):
    for measure, value in (("f1", f1), ("recall", recall), ("rouge-l", longest)):
        assert similarity([completion], [reference], measure) == [pytest.approx(value)]


@given(st.lists(st.sampled_from("abc"), max_size=7), st.lists(st.sampled_from("abc"), max_size=7))
def test_rouge_l_matches_the_longest_of_all_common_subsequences(one, two):
    both = [set(combinations(one, k)) & set(combinations(two, k)) for k in range(8)]
    longest = max(k for k in range(8) if both[k])
    slow = 2 * longest / (len(one) + len(two)) if longest else 0
    (fast,) = similarity([" ".join(one)], [" ".join(two)], "rouge-l")
    assert fast == pytest.approx(slow)
    (f1,), (recall,) = (similarity([" ".join(one)], [" ".join(two)], m) for m in ("f1", "recall"))
    assert fast <= f1 + 1e-12
    assert 0 <= recall <= 1
