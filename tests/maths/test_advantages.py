import pytest
import torch

from rlnlp.maths.advantages import divide_by_group_std, equal_groups, groups, leave_one_out
from support import reference

D = torch.float64


def returns(count, seed=0):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=D)


def group_mean(r, group):
    return r.view(-1, group).mean(1).repeat_interleave(group)


def test_leave_one_out_by_hand():
    r = torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0])
    assert leave_one_out(r, 3).tolist() == [4.0, 3.5, 1.5, 1.5, 1.5, 0.0]
    assert (r - leave_one_out(r, 3)).tolist() == [-3.0, -1.5, 4.5, -1.5, -1.5, 3.0]


def test_leave_one_out_of_the_published_case():
    # NeMo-RL tests/unit/algorithms/test_utils.py::test_calculate_baseline_and_std_per_prompt_basic
    assert leave_one_out(torch.tensor([1.0, 2, 3, 4, 5, 6]), 3).tolist() == [2.5, 2, 1.5, 5.5, 5, 4.5]


@pytest.mark.parametrize("group", [2, 3, 4, 6, 12])
def test_leave_one_out_matches_the_mean_of_the_others(group):
    r = returns(12)
    assert leave_one_out(r, group).tolist() == pytest.approx(reference.leave_one_out(r.tolist(), group), rel=1e-12)


def test_a_response_does_not_move_its_own_leave_one_out_baseline():
    r = returns(4)
    moved = r.clone()
    moved[1] += 100
    change = leave_one_out(moved, 4) - leave_one_out(r, 4)
    assert change.tolist() == pytest.approx([100 / 3, 0, 100 / 3, 100 / 3])


@pytest.mark.parametrize("group", [2, 3, 4])
def test_group_normalized_advantages_match_the_paper(group):
    r = returns(12)
    got = divide_by_group_std(r - group_mean(r, group), r, group)
    assert got.tolist() == pytest.approx(reference.group_normalized(r.tolist(), group), rel=1e-12)


def test_group_normalized_advantages_by_hand():
    r = torch.tensor([0.0, 2.0, 5.0, 5.0], dtype=D)
    assert divide_by_group_std(r - group_mean(r, 2), r, 2).tolist() == [-1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_64_copies_of_one_return_have_advantages_of_exactly_0(dtype):
    r = torch.full((64,), 0.7, dtype=dtype)
    advantages = r - leave_one_out(r, 64)
    assert divide_by_group_std(advantages, r, 64).tolist() == [0.0] * 64
    assert equal_groups(r, 64).tolist() == [True]


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_group_normalized_advantages_do_not_depend_on_the_unit_of_the_reward(size):
    r = torch.tensor([1.0, 2.0, 4.0], dtype=D)
    base = divide_by_group_std(r - group_mean(r, 3), r, 3)
    scaled = divide_by_group_std(size * (r - group_mean(r, 3)), size * r, 3)
    torch.testing.assert_close(scaled, base, rtol=1e-12, atol=0)


def test_equal_groups_are_told_from_those_that_hardly_differ():
    r = torch.tensor([3.0, 3.0, 3.0, 3.001, 0.0, 0.0, 1000.0, 1000.0005, -5.0, 5.0], dtype=D)
    assert equal_groups(r, 2).tolist() == [True, False, True, True, False]


def test_groups_stand_side_by_side():
    assert groups(torch.tensor([1, 2, 3, 4, 5, 6]), 3).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("group", [0, -2, 4, 5])
def test_a_group_that_does_not_divide_the_batch_is_refused(group):
    r = torch.zeros(6)
    with pytest.raises(ValueError, match="cannot be split"):
        groups(r, group)
    with pytest.raises(ValueError, match="cannot be split"):
        divide_by_group_std(r, r, group)
    with pytest.raises(ValueError, match=r"cannot be split|needs 2 or more"):
        leave_one_out(r, group)


def test_leave_one_out_needs_another_sample():
    with pytest.raises(ValueError, match="needs 2 or more"):
        leave_one_out(torch.zeros(3), 1)
