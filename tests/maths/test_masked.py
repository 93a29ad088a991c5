import pytest
import torch

import reference
from rlnlp.maths.masked import last_true, masked_mean, reduce

D = torch.float64


@pytest.fixture(params=["ragged", "holes"])
def mask(request):
    rows = reference.RAGGED if request.param == "ragged" else reference.HOLES
    assert len(set(reference.lengths(rows))) > 2, "rows of one length would hide most mistakes"
    assert any(map(reference.has_hole, rows)) == (request.param == "holes")
    return torch.tensor(rows)


@pytest.fixture
def x(mask):
    return torch.randn(mask.shape, generator=torch.Generator().manual_seed(0), dtype=D)


def test_masked_mean_of_the_published_case():
    # TRL tests/experimental/test_ppo_trainer.py::TestCore
    x, mask = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[False, True, True, False]])
    assert masked_mean(x, mask).item() == 2.5


def test_masked_mean_matches_the_slow_mean(x, mask):
    assert masked_mean(x, mask).item() == pytest.approx(reference.mean_over(x.tolist(), mask.tolist()), rel=1e-12)


def test_masked_mean_does_not_read_behind_the_mask_even_nan(x, mask):
    poisoned = x.masked_fill(~mask, float("nan"))
    assert masked_mean(poisoned, mask).item() == masked_mean(x, mask).item()


def test_no_gradient_reaches_the_places_behind_the_mask(x, mask):
    x.requires_grad_(True)
    masked_mean(x, mask).backward()
    torch.testing.assert_close(x.grad, mask.to(D) / mask.sum())


def test_parts_over_the_count_of_the_whole_add_up_to_the_token_mean():
    # OpenRLHF tests/test_loss_aggregation.py: the mean of micro-batch means would be 3.25
    first, second = torch.tensor([[1.0, 2, 0]]), torch.tensor([[3.0, 4, 5], [6, 7, 0]])
    first_mask, second_mask = first > 0, second > 0
    total = first_mask.sum() + second_mask.sum()
    assert (reduce(first, first_mask, total) + reduce(second, second_mask, total)).item() == pytest.approx(4.0)


def test_reduce_divides_by_the_total_it_is_given(x, mask):
    want = reference.mean_over(x.tolist(), mask.tolist()) * int(mask.sum()) / 7
    assert reduce(x, mask, 7).item() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("total", [0, torch.tensor(0), -3])
def test_reduce_refuses_a_total_that_is_not_positive(total):
    with pytest.raises(ValueError, match="nothing to average"):
        reduce(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), total)


def test_masked_mean_refuses_a_mask_without_a_true_place():
    with pytest.raises(ValueError, match="no True place"):
        masked_mean(torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.bool))


@pytest.mark.parametrize("shape", [(4, 1), (1, 5), (5,), (2, 5)])
def test_reduce_refuses_shapes_that_differ_instead_of_broadcasting(shape):
    with pytest.raises(ValueError, match="but mask is"):
        reduce(torch.ones(4, 5), torch.ones(shape, dtype=torch.bool), 3)


def test_last_true_by_hand_with_holes():
    mask = torch.tensor([[True, False, True, False], [True, False, False, False], [False, False, False, True]])
    assert last_true(mask).tolist() == [2, 0, 3]


def test_last_true_names_the_row_that_has_none():
    with pytest.raises(ValueError, match="row 1 "):
        last_true(torch.tensor([[True, False], [False, False]]))
