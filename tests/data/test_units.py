"""What belongs together is never parted by a split."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlnlp.data.judged import judged
from rlnlp.data.units import folds_of, parts_of, prompt_key, trained_on, units_of

TEXTS = st.lists(st.lists(st.sampled_from("abcdefghij"), min_size=2, max_size=3, unique=True), min_size=1, max_size=12)


def row(*texts, prompt=None, group=None):
    record = {"prompt": prompt, "responses": list(texts), "ratings": list(range(len(texts))), "topic": group}
    return judged("", record, {}, None if group is None else "topic")


def reachable(keys):
    """A slow reference: the sets of rows that are tied to each other by shared keys."""
    sets = [{i} for i in range(len(keys))]
    for _ in keys:
        for i, j in itertools.product(range(len(keys)), repeat=2):
            if set(keys[i]) & set(keys[j]):
                sets[i] = sets[j] = sets[i] | sets[j]
                for k in sets[i]:
                    sets[k] = sets[i]
    return [min(each) for each in sets]


def ranks(numbers):
    seen = {}
    return [seen.setdefault(number, len(seen)) for number in numbers]


@given(TEXTS)
def test_without_a_prompt_rows_that_share_a_text_in_any_number_of_steps_are_a_unit(texts):
    assert units_of([row(*each) for each in texts]) == ranks(reachable(texts))


def test_a_prompt_ties_rows_and_their_answers_do_not():
    rows = [row("a", "b", prompt="p"), row("a", "b", prompt="q"), row("c", "d", prompt=" p\n"), row("a", "b")]
    assert units_of(rows) == [0, 1, 0, 2]


def test_the_prompt_of_a_conversation_is_who_says_what():
    said = [{"role": "user", "content": "hi"}]
    other = [{"role": "assistant", "content": "hi"}]
    assert prompt_key(said) == prompt_key([{"role": "user", "content": " hi ", "name": "x"}])
    assert prompt_key(said) != prompt_key([{"role": "system", "content": "hi"}, *said])
    assert prompt_key(other) is None
    assert prompt_key([]) is prompt_key("") is prompt_key(" ") is prompt_key(None) is None
    assert units_of([row("a", "b", prompt=said), row("c", "d", prompt=other), row("c", "e", prompt=other)]) == [0, 1, 1]


def test_a_group_goes_before_prompts():
    rows = [row("a", "b", prompt="p", group="x"), row("a", "b", prompt="p", group="y"), row("c", "d", group="x")]
    assert units_of(rows) == [0, 1, 0]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(1, 9), st.integers(0, 3), st.booleans())
def test_a_split_parts_no_unit_and_loses_no_row(units, size, seed, grouped):
    parts = parts_of(units, size, seed, grouped)
    if parts.separate:
        assert sorted(parts.train + parts.heldout) == list(range(len(units)))
        assert not {units[i] for i in parts.train} & {units[i] for i in parts.heldout}
        assert parts.train
        held = len({units[i] for i in parts.heldout})
        assert held == max(min(size, len(set(units)) // 10), grouped)
        assert parts.told == {}
    else:
        assert parts.train == list(range(len(units)))
        assert parts.heldout
        assert len({units[i] for i in parts.heldout}) <= size
    assert (parts.train, parts.heldout) == (sorted(parts.train), sorted(parts.heldout))
    assert parts == parts_of(units, size, seed, grouped)


@given(st.lists(st.integers(0, 30), max_size=80), st.integers(1, 9), st.integers(0, 3))
def test_folds_have_every_row_once_and_part_no_unit(units, count, seed):
    folds = folds_of(units, count, seed)
    assert sorted(row for fold in folds for row in fold) == list(range(len(units)))
    inside = [{units[row] for row in fold} for fold in folds]
    assert sum(map(len, inside)) == len(set(units))
    assert len(folds) == min(count, len(set(units)))
    assert not inside or max(map(len, inside)) - min(map(len, inside)) <= 1
    assert all(fold == sorted(fold) for fold in folds)
    assert folds == folds_of(units, count, seed)


def test_the_folds_are_a_matter_of_the_seed():
    assert len({str(folds_of(range(20), 5, seed)) for seed in range(10)}) > 5


def test_held_out_rows_of_a_file_of_their_own_that_are_trained_on_are_found():
    train = [row("a", "b", prompt="p"), row("c", "d")]
    held = [row("x", "y", prompt=" p"), row("a", "b", prompt="q"), row("e", "d"), row("x", "e"), row("a", "b")]
    assert trained_on(train, held) == [0, 2, 3]


def test_the_split_is_a_matter_of_the_seed():
    assert len({tuple(parts_of(range(100), 10, seed, False).heldout) for seed in range(10)}) > 5
    assert len(parts_of(range(100), 400, 0, False).heldout) == 10
    assert len(parts_of(range(100), 3, 0, False).heldout) == 3


@pytest.mark.parametrize(
    ("units", "grouped", "what"),
    [
        ([0, 1, 2, 3], False, "4 distinct prompts"), ([0] * 9, False, "1 distinct prompt"), ([0, 0], True, "1 group"),
        ([*range(9)] * 50, False, "9 distinct prompts"),
    ],
)  # fmt: skip
def test_too_few_prompts_are_measured_on_what_is_trained_on_and_it_is_said(units, grouped, what):
    parts = parts_of(units, 2, 0, grouped)
    assert not parts.separate
    assert parts.train == list(range(len(units)))
    assert {units[i] for i in parts.heldout} == {0, 1} & set(units)
    (line,) = parts.told.values()
    assert line == f"measured on rows that are trained on: too few to hold some out ({what})"


def test_of_few_groups_one_is_held_out_and_no_unit_with_most_of_the_rows_ever_is():
    for seed in range(10):
        assert len(parts_of([0, 1, 1, 2], 400, seed, True).heldout) <= 2
        assert parts_of([0, 0, 0, 1, 2], 1, seed, True).heldout in ([3], [4])
        assert 0 not in [([0] * 200 + [*range(1, 99)])[i] for i in parts_of([0] * 200 + [*range(1, 99)], 9, seed, False)
                         .heldout]  # fmt: skip


def test_nothing_is_held_out_where_nothing_is_to_be():
    parts = parts_of([0, 1, 2], 0, 0, False)
    assert (parts.train, parts.heldout, parts.told) == ([0, 1, 2], [], {})
