import pytest
import torch
from hypothesis import given

from rlnlp.maths.masked import equal, last_true, masked_mean, masked_variance, reduce, scale_to_unit_std, whitened
from support import reference
from support.generated import MANY, cases, tensors

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


def test_no_gradient_reaches_the_positions_behind_the_mask(x, mask):
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


def test_masked_mean_refuses_a_mask_without_a_true_position():
    with pytest.raises(ValueError, match="no True position"):
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


def test_variance_of_the_published_case_and_of_the_population():
    # TRL tests/experimental/test_ppo_trainer.py::TestCore has the unbiased variance
    x, mask = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[False, True, True, False]])
    assert masked_variance(x, mask, 1).item() == 0.5
    assert masked_variance(x, mask).item() == 0.25
    torch.testing.assert_close(whitened(x, mask), torch.tensor([[0.0, -1, 1, 0]]), rtol=0, atol=1e-6)


def test_whitening_of_the_published_rule_with_the_mean_gone_and_with_the_mean_kept():
    # openai/lm-human-preferences lm_human_preferences/utils/core.py::whiten, shift_mean True and False
    x, mask = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=D), torch.ones(1, 4, dtype=torch.bool)
    assert whitened(x, mask)[0].tolist() == pytest.approx([-1.3416408, -0.4472136, 0.4472136, 1.3416408], abs=1e-6)
    scaled = scale_to_unit_std(x, mask)[0].tolist()
    assert scaled == pytest.approx([1.1583592, 2.0527864, 2.9472136, 3.8416408], abs=1e-6)


@given(cases(1))
@MANY
def test_variance_and_whitening_match_the_slow_reference(case):
    rows, numbers = case
    mask, x = tensors(case)
    assert masked_variance(x, mask).item() == pytest.approx(reference.variance_over(numbers, rows), abs=1e-12)
    for fast, keep_mean in ((whitened, False), (scale_to_unit_std, True)):
        want = torch.tensor(reference.whitened(numbers, rows, keep_mean), dtype=D)
        torch.testing.assert_close(fast(x, mask), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-19, 1e-4, 1.0, 1e30])
def test_values_of_any_size_are_divided_by_their_own_standard_deviation(scale):
    x, mask = scale * torch.tensor([[1.0, 2, 3, 4, 0]]), torch.tensor([[True] * 4 + [False]])
    assert whitened(x, mask)[0].tolist() == pytest.approx([-1.3416408, -0.4472136, 0.4472136, 1.3416408, 0], abs=1e-6)
    kept = (scale_to_unit_std(x, mask) - 2.5 * scale)[0, :4].tolist()
    if scale <= 1:
        assert kept == pytest.approx([-1.3416408, -0.4472136, 0.4472136, 1.3416408], abs=1e-6)


def test_whitening_is_over_all_tokens_of_the_batch_and_not_within_rows(x, mask):
    white = whitened(x, mask)
    assert masked_mean(white, mask).item() == pytest.approx(0, abs=1e-12)
    assert masked_variance(white, mask).item() == pytest.approx(1, abs=1e-6)
    means = [masked_mean(white[i : i + 1], mask[i : i + 1]).item() for i in range(len(mask))]
    assert max(map(abs, means)) > 0.1, "each row by itself would have a mean of 0"


def test_scaling_keeps_the_mean_and_the_order_and_gives_the_standard_deviation_1(x, mask):
    wide = 7 + 3 * x
    got = scale_to_unit_std(wide, mask)
    assert masked_mean(got, mask).item() == pytest.approx(masked_mean(wide, mask).item(), rel=1e-12)
    assert masked_variance(got, mask).item() == pytest.approx(1, abs=1e-6)
    assert torch.equal(got[mask].argsort(), wide[mask].argsort())


@pytest.mark.parametrize("dtype", [torch.float32, D])
@pytest.mark.parametrize("value", [0.0, 0.7, -1e-9, 1e8])
def test_positions_that_are_all_equal_are_whitened_to_exactly_0_and_scaled_to_themselves(value, dtype, mask):
    x = torch.full(mask.shape, value, dtype=dtype)
    x[~mask] = 5.0
    assert whitened(x, mask).tolist() == [[0.0] * 5] * 4
    assert scale_to_unit_std(x, mask).tolist() == torch.where(mask, x, 0).tolist()
    assert equal(x, mask)


def test_positions_that_differ_by_rounding_only_are_equal_and_by_more_are_not(mask):
    x = torch.full(mask.shape, 0.7)
    x[mask] += torch.linspace(0, 2e-7, int(mask.sum()))
    assert x[mask].unique().numel() > 1
    assert whitened(x, mask).tolist() == [[0.0] * 5] * 4
    x[0, 0] += 1e-3
    assert not equal(x, mask)
    assert whitened(x, mask)[0, 0].item() > 1


@pytest.mark.parametrize("fast", [whitened, scale_to_unit_std])
def test_whitening_reads_nothing_behind_the_mask_and_leaves_0_there(fast, x, mask):
    got = fast(x.masked_fill(~mask, float("nan")), mask)
    assert torch.equal(got, fast(x, mask))
    assert not got[~mask].any()


@pytest.mark.parametrize("correction", [0, 1])
def test_a_variance_needs_more_positions_than_it_corrects_for(correction):
    mask = torch.tensor([[True, False]]) if correction else torch.tensor([[False, False]])
    with pytest.raises(ValueError, match="nothing to average"):
        masked_variance(torch.ones(1, 2), mask, correction)
