import pytest
import torch

from rlnlp.batching import chunks
from rlnlp.maths.shapes import same_shape
from rlnlp.types import Prompts, Rollout, Scores, Texts, take
from support import small

MASK = torch.tensor([[True, True, True], [True, False, False], [True, False, True]])  # the last with a hole


@pytest.fixture
def rollout():
    prompts = small.prompts([5, 6], [7], [8, 9])
    responses = torch.tensor([[10, 11, 2], [2, 0, 0], [12, 13, 14]])
    attention = torch.cat([prompts.mask, torch.tensor([[True] * 3, [True, False, False], [True] * 3])], dim=1)
    return Rollout(prompts, responses, MASK, attention, torch.tensor([True, True, False]))


def parts(r):
    return r.prompts, r.responses, r.mask, r.attention, r.ended


def test_prompts_refuse_a_mask_of_another_shape():
    with pytest.raises(ValueError, match=r"tokens \(2, 3\), mask \(2, 2\)"):
        Prompts(torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 2, dtype=torch.bool), torch.arange(2))


@pytest.mark.parametrize("rows", [torch.arange(3), torch.zeros(2, 1), torch.tensor(0)])
def test_prompts_refuse_row_numbers_that_do_not_fit(rows):
    with pytest.raises(ValueError, match="rows"):
        Prompts(torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool), rows)


def test_a_rollout_lays_prompt_and_response_side_by_side(rollout):
    assert rollout.tokens.tolist() == [[5, 6, 10, 11, 2], [0, 7, 2, 0, 0], [8, 9, 12, 13, 14]]


@pytest.mark.parametrize("part", [2, 3])
def test_a_rollout_refuses_a_part_with_a_column_too_few(rollout, part):
    wrong = list(parts(rollout))
    wrong[part] = wrong[part][:, 1:]
    with pytest.raises(ValueError, match=r"shapes differ|must have shape"):
        Rollout(*wrong)


@pytest.mark.parametrize("part", [2, 3, 4])
def test_a_rollout_refuses_a_part_with_a_row_too_few(rollout, part):
    wrong = list(parts(rollout))
    wrong[part] = wrong[part][1:]
    with pytest.raises(ValueError, match=r"shapes differ|must have shape"):
        Rollout(*wrong)


def test_a_score_is_the_sum_of_a_response_s_rewards():
    scores = Scores(torch.tensor([[0.5, 0.0, 1.0], [-1.0, 0.25, 0.0]]), {"length": torch.tensor([1.0, 2.0])})
    assert scores.score.tolist() == [1.5, -0.75]


@pytest.mark.parametrize("term", [torch.zeros(3), torch.zeros(2, 1), torch.tensor(0.0)])
def test_scores_refuse_a_term_of_another_length(term):
    with pytest.raises(ValueError, match="term length"):
        Scores(torch.zeros(2, 3), {"length": term})


def test_same_shape_names_the_tensors_that_differ():
    same_shape(a=torch.zeros(2, 1), b=torch.ones(2, 1))
    with pytest.raises(ValueError, match=r"a \(2, 1\), b \(2,\)"):
        same_shape(a=torch.zeros(2, 1), b=torch.ones(2))


def test_repeat_puts_the_copies_of_a_prompt_side_by_side():
    repeated = small.prompts([5, 6], [7]).repeat(3)
    assert repeated.tokens.tolist() == [[5, 6]] * 3 + [[0, 7]] * 3
    assert repeated.mask.tolist() == [[True, True]] * 3 + [[False, True]] * 3
    assert repeated.rows.tolist() == [0, 0, 0, 1, 1, 1]


def test_take_gives_the_asked_rows_of_every_tensor_nested_ones_too(rollout):
    taken = take(rollout, torch.tensor([2, 0, 2]))
    assert taken.tokens.tolist() == [rollout.tokens[i].tolist() for i in (2, 0, 2)]
    assert taken.mask.tolist() == [MASK[i].tolist() for i in (2, 0, 2)]
    assert taken.attention.tolist() == [rollout.attention[i].tolist() for i in (2, 0, 2)]
    assert taken.ended.tolist() == [False, True, False]
    assert taken.prompts.rows.tolist() == [2, 0, 2]
    assert taken.prompts.mask.tolist() == [[True, True]] * 3


@pytest.mark.parametrize(("size", "lengths"), [(1, [1, 1, 1]), (2, [2, 1]), (3, [3]), (9, [3])])
def test_chunks_cut_in_order_and_lose_no_row(rollout, size, lengths):
    cut_up = list(chunks(rollout, 3, size))
    assert [len(piece.ended) for piece in cut_up] == lengths
    for whole, *cut in zip(parts(rollout)[1:], *(parts(piece)[1:] for piece in cut_up), strict=True):
        assert torch.equal(torch.cat(cut), whole)
    assert torch.cat([piece.prompts.rows for piece in cut_up]).tolist() == [0, 1, 2]


def test_texts_hold_one_entry_per_response():
    texts = Texts(["a"], ["b"], [None], {"topic": ["c"]})
    assert (texts.prompts, texts.completions, texts.references, texts.columns) == (
        ["a"],
        ["b"],
        [None],
        {"topic": ["c"]},
    )
