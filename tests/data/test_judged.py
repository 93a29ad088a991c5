"""Every row of the corpus gives what is stated, and what people said besides is kept."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import judgements
from rlnlp.data.answers import BadRecord, Unusable
from rlnlp.data.judged import CUT, Pair, judged
from rlnlp.data.preferences import judgement_fault

ALL = [*judgements.USABLE, *judgements.LEFT_OUT, *judgements.BROKEN]

FIELDS = ["prompt", "chosen", "rejected", "text1", "text2", "preference", "responses", "ratings", "ranking", "margin",
          "weight", "annotator", "topic"]  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 3), st.floats(), st.integers(),
              st.text("a \n1.\ud800", max_size=3),
              st.sampled_from([judgements.ASKED, judgements.USER, judgements.GOOD, "1e999"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner),
    max_leaves=6,
)  # fmt: skip


def read(record, values=None, group=None, fewest=2):
    return judged("p.jsonl:3", record, values or {}, group, fewest)


def cases(part):
    return [pytest.param(case, id=case.name) for case in part]


def test_the_corpus_is_large_and_no_name_is_there_twice():
    assert len({case.name for case in ALL}) == len(ALL) >= 90


@pytest.mark.parametrize("case", cases(judgements.USABLE))
def test_a_row_that_can_be_used_gives_its_prompt_its_answers_and_their_pairs(case):
    found = read(case.record, **case.settings)
    assert (found.prompt, list(found.answers), found.pairs) == case.gives
    assert found.location == "p.jsonl:3"


@pytest.mark.parametrize("case", cases(judgements.LEFT_OUT))
def test_a_row_that_says_nothing_is_left_out_with_the_reason(case):
    with pytest.raises(Unusable) as reason:
        read(case.record, **case.settings)
    assert str(reason.value) == case.gives
    assert judgement_fault(case.record, {}, None) is None, "it is no bad line"


@pytest.mark.parametrize("case", cases(judgements.BROKEN))
def test_a_row_that_is_no_judgement_is_refused_with_what_is_wrong(case):
    with pytest.raises(BadRecord) as fault:
        read(case.record, **case.settings)
    assert case.gives in str(fault.value)
    given = {"values": {}, "group": None, **case.settings}
    assert judgement_fault(case.record, given["values"], given["group"]) == str(fault.value)


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=2))
def test_whatever_a_row_holds_it_is_used_left_out_or_refused(record):
    with suppress(BadRecord, Unusable):
        found = read(record, {"a": 1}, "topic")
        assert found.pairs
        assert all(found.texts[pair.chosen] != found.texts[pair.rejected] for pair in found.pairs)
        assert all(text.strip() for text in found.texts)


def test_ratings_weight_annotator_and_group_are_kept():
    row = {"prompt": "p", "responses": ["a", "b"], "ratings": [1, "2.5"], "weight": ".5", "annotator": 7, "topic": "x"}
    found = read(row, group="topic")
    assert found.ratings == (1.0, 2.5)
    assert (found.weight, found.annotator, found.group) == (0.5, "7", "x")
    plain = read({"prompt": "p", "responses": ["a", "b"], "ranking": [2, 1]})
    assert (plain.ratings, plain.weight, plain.annotator, plain.group) == (None, 1.0, None, None)
    assert read({"chosen": "a", "rejected": "b", "annotator": ""}).annotator is None


def test_a_dialogue_is_its_prompt_and_answer_put_together_to_the_letter():
    texts = [f"{judgements.ASKED}{answer}" for answer in (" yes", "no\n", "  \t so")]
    found = read({"responses": texts, "ratings": [1, 2, 3]})
    assert [found.prompt + text for text in found.texts] == texts


def test_what_a_template_may_read_of_an_answer_stays_with_it():
    thought = {"role": "assistant", "content": "good", "reasoning_content": "hm"}
    found = read({"prompt": "hi", "chosen": [thought], "rejected": [judgements.BAD]})
    assert found.answers == (thought, judgements.BAD)
    assert found.texts == ("good", "bad")


def test_pairs_that_look_alike_once_cut_are_left_out_and_a_row_without_any_other():
    found = read({"prompt": "p", "responses": ["abc", "abd", "x"], "ratings": [3, 2, 1]})
    looked = []

    def first_two(prompt, answer):
        looked.append((prompt, answer))
        return answer[:2]

    assert found.told_apart_by(first_two).pairs == (Pair(0, 2), Pair(1, 2))
    assert looked == [("p", "abc"), ("p", "abd"), ("p", "x")], "each answer once, with its prompt"
    with pytest.raises(Unusable, match=CUT):
        found.told_apart_by(lambda prompt, answer: prompt)
    alone = read({"prompt": "p", "responses": ["a"], "ratings": [3]}, fewest=1)
    assert alone.told_apart_by(lambda prompt, answer: 0) == alone, "a rating alone has no pair to lose"
