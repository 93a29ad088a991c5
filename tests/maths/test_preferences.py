import itertools
import math

import pytest
import torch

from rlnlp.maths.preferences import (
    all_pairs,
    bradley_terry,
    centering,
    centering_of_all_pairs,
    ensemble_mean,
    ensemble_mean_minus_uncertainty,
    ensemble_minimum,
    normalization_overall,
    normalization_within_prompts,
    rating_error,
    weighted,
)

D = torch.float64
NAN = math.nan


def t(*values):
    return torch.tensor(values, dtype=D)


def real(*rows):
    return torch.tensor(rows, dtype=torch.bool)


def sure(first, second, noise=0.0):
    """The loss of pairs whose first response is preferred, without a margin."""
    return bradley_terry(first, second, torch.ones_like(first), torch.zeros_like(first), noise)


def slow_pair(first, second, target=1.0, margin=0.0, noise=0.0):
    """One pair, in probabilities, as the papers write it."""
    toward = margin if target > 0.5 else -margin if target < 0.5 else 0.0
    p = 1 / (1 + math.exp(-(first - second - toward)))
    p = (1 - noise) * p + noise / 2
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


def slow_group(scores, ratings, noise=0.0):
    """The mean over all pairs of one prompt."""
    losses = []
    for (a, x), (b, y) in itertools.combinations(zip(scores, ratings, strict=True), 2):
        losses.append(slow_pair(a, b, 1.0 if x > y else 0.0 if x < y else 0.5, 0.0, noise))
    return sum(losses) / len(losses)


def test_bradley_terry_loss_of_the_reference_case():
    loss = sure(t(1, 2, 0, -1), t(0, 0, 0, 1))
    assert loss.tolist() == pytest.approx([0.3132617, 0.126928, 0.6931472, 2.126928], abs=1e-7)
    assert loss.mean().item() == pytest.approx(0.8150662, abs=1e-7)


def test_a_margin_is_taken_off_the_preferred_side_and_a_tie_has_none():
    two = t(2.0)
    assert bradley_terry(two, t(0.0), t(1.0), t(1.0)).item() == pytest.approx(math.log1p(math.exp(-1)))
    assert bradley_terry(two, t(0.0), t(0.0), t(1.0)).item() == pytest.approx(math.log1p(math.exp(3)))
    assert bradley_terry(two, t(0.0), t(0.5), t(1.0)).item() == pytest.approx(1 + math.log1p(math.exp(-2)))


def test_the_loss_of_a_tie_is_least_for_equal_scores():
    difference = t(0.0).requires_grad_()
    loss = bradley_terry(difference, t(0.0), t(0.5), t(3.0), 0.1)
    (slope,) = torch.autograd.grad(loss.sum(), difference)
    assert loss.item() == pytest.approx(math.log(2))
    assert slope.item() == pytest.approx(0, abs=1e-12)


def test_with_noise_of_a_tenth_the_probability_is_nine_tenths_of_the_sigmoid_and_a_twentieth():
    assert sure(t(math.log(3)), t(0.0), 0.1).item() == pytest.approx(-math.log(0.9 * 0.75 + 0.05))
    assert sure(t(-800.0), t(0.0), 0.1).item() == pytest.approx(-math.log(0.05))
    assert sure(t(800.0), t(0.0), 0.1).item() == pytest.approx(-math.log(0.95))


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_bradley_terry_loss_matches_the_slow_reference(noise):
    generator = torch.Generator().manual_seed(0)
    first, second = 2 * torch.randn(2, 60, generator=generator, dtype=D)
    target = torch.tensor([0.0, 0.3, 0.5, 0.8, 1.0], dtype=D).repeat(12)
    margin = torch.rand(60, generator=generator, dtype=D)
    rows = zip(first.tolist(), second.tolist(), target.tolist(), margin.tolist(), strict=True)
    want = [slow_pair(*row, noise) for row in rows]
    assert bradley_terry(first, second, target, margin, noise).tolist() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_pair_the_other_way_round_has_the_same_loss(noise):
    first, second, target, margin = t(1.5, -2, 0.3), t(0.2, 0.4, 9), t(1, 0.5, 0.2), t(0.7, 0.1, 2)
    one = bradley_terry(first, second, target, margin, noise)
    assert one.tolist() == pytest.approx(bradley_terry(second, first, 1 - target, margin, noise).tolist(), rel=1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_losses_have_the_gradients_of_finite_differences(noise):
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 9, generator=generator, dtype=D).requires_grad_()
    target, margin = t(0, 0.5, 1).repeat(3), torch.rand(9, generator=generator, dtype=D)
    assert torch.autograd.gradcheck(lambda a, b: bradley_terry(a, b, target, margin, noise), (x, y))
    assert torch.autograd.gradcheck(centering, (x, y))
    scores = torch.randn(3, 4, generator=generator, dtype=D).requires_grad_()
    ratings = torch.tensor([[1.0, 2, 2, 5], [3, 1, 0, 0], [0, 0, 0, 0]], dtype=D)
    mask = real([1, 1, 1, 1], [1, 0, 1, 1], [0, 1, 0, 1])
    assert torch.autograd.gradcheck(lambda s: all_pairs(s, ratings, mask, noise), scores)
    assert torch.autograd.gradcheck(lambda s: centering_of_all_pairs(s, mask), scores)
    assert torch.autograd.gradcheck(lambda s: rating_error(s, ratings, mask), scores)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_losses_and_gradients_of_extreme_scores_are_finite(noise):
    first, second = torch.tensor([1e4, -1e4, 0.0], requires_grad=True), torch.tensor([-1e4, 1e4, 0.0])
    loss = sure(first, second, noise)
    (slope,) = torch.autograd.grad(loss.sum(), first)
    assert loss.isfinite().all()
    assert slope.isfinite().all()
    assert slope[1].item() == pytest.approx(0.0 if noise else -1.0), "far beyond the noise a wrong label has no pull"


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_all_rankings_of_four_have_the_loss_of_their_six_pairs(noise):
    scores = t(0.3, -1.2, 2.0, 0.9)
    rankings = list(itertools.permutations([1.0, 2.0, 3.0, 4.0]))
    ratings = torch.tensor(rankings, dtype=D)
    got = all_pairs(scores.expand(24, 4), ratings, torch.ones(24, 4, dtype=torch.bool), noise)
    want = [slow_group(scores.tolist(), ranking, noise) for ranking in rankings]
    assert got.tolist() == pytest.approx(want, rel=1e-12)
    assert rankings[int(got.argmin())] == (2.0, 1.0, 4.0, 3.0), "the loss is least for the ranking of the scores"
    assert rankings[int(got.argmax())] == (3.0, 4.0, 1.0, 2.0)


def test_over_all_rankings_of_four_by_their_chance_the_loss_is_least_at_the_true_scores():
    # Plackett-Luce: the chance of a ranking is that of each next choice; of any two responses it is Bradley-Terry.
    true = t(0.3, -1.2, 2.0, 0.9)
    orders = list(itertools.permutations(range(4)))
    chance = [
        math.prod(math.exp(true[order[i]]) / sum(math.exp(true[j]) for j in order[i:]) for i in range(4))
        for order in orders
    ]
    assert sum(chance) == pytest.approx(1)
    ratings = torch.zeros(24, 4, dtype=D)
    for row, order in enumerate(orders):
        ratings[row, list(order)] = t(4, 3, 2, 1)

    def expected(scores):
        loss = all_pairs(scores.expand(24, 4), ratings, torch.ones(24, 4, dtype=torch.bool))
        return loss @ torch.tensor(chance, dtype=D)

    slope = torch.func.grad(expected)(true)
    assert slope.tolist() == pytest.approx([0.0] * 4, abs=1e-12)
    assert torch.linalg.eigvalsh(torch.func.hessian(expected)(true))[1] > 0.01, "but for a constant, it is the minimum"
    p = [1 / (1 + math.exp(-(a - b))) for a, b in itertools.combinations(true.tolist(), 2)]
    entropy = sum(-q * math.log(q) - (1 - q) * math.log(1 - q) for q in p) / 6
    assert expected(true).item() == pytest.approx(entropy, rel=1e-12)


def test_prompts_weigh_the_same_however_many_responses_they_have_and_padding_is_not_read():
    scores = torch.tensor([[1.0, 0.0, NAN, NAN], [0.5, 2.0, -1.0, 0.0], [NAN, 3.0, NAN, 1.0]], dtype=D)
    ratings = torch.tensor([[5.0, 1.0, NAN, 7.0], [1.0, 3.0, 3.0, 2.0], [NAN, 1.0, 0.0, 1.0]], dtype=D)
    mask = real([1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1])
    scores.requires_grad_()
    got = all_pairs(scores, ratings, mask, 0.1)
    want = [
        slow_group([1, 0], [5, 1], 0.1),
        slow_group([0.5, 2, -1, 0], [1, 3, 3, 2], 0.1),
        slow_pair(3, 1, 0.5, 0, 0.1),
    ]
    assert got.tolist() == pytest.approx(want, rel=1e-12)
    (slope,) = torch.autograd.grad(got.sum(), scores)
    assert slope[~mask].tolist() == [0.0] * 4
    assert slope.isfinite().all()


def test_two_responses_are_a_pair():
    first, second = t(1, 2, 0, -1), t(0, 0, 0, 1)
    scores, ratings = torch.stack([first, second], 1), torch.tensor([[1.0, 0.0]] * 4, dtype=D)
    mask = torch.ones(4, 2, dtype=torch.bool)
    assert all_pairs(scores, ratings, mask).tolist() == pytest.approx(sure(first, second).tolist())
    assert centering_of_all_pairs(scores, mask).tolist() == pytest.approx(centering(first, second).tolist())


def test_the_centering_term_is_the_square_of_the_sum():
    assert centering(t(1, 2, -3), t(0.5, -2, -1)).tolist() == pytest.approx([2.25, 0, 16])
    scores = torch.tensor([[1.0, 2.0, -1.0], [3.0, NAN, 1.0]], dtype=D)
    got = centering_of_all_pairs(scores, real([1, 1, 1], [1, 0, 1]))
    assert got.tolist() == pytest.approx([(9 + 0 + 1) / 3, 16])


def test_the_error_of_ratings_is_the_mean_square_of_a_prompts_responses():
    scores = torch.tensor([[1.0, 2.0, -1.0], [3.0, NAN, NAN]], dtype=D)
    ratings = torch.tensor([[3.0, 2.0, 0.0], [1.0, NAN, 5.0]], dtype=D)
    assert rating_error(scores, ratings, real([1, 1, 1], [1, 0, 0])).tolist() == pytest.approx([5 / 3, 4])


def test_weighted_losses_are_divided_by_the_weights_of_the_whole_step():
    losses, weights = t(1, 2, 4, 8), t(1, 0, 0.5, 2)
    assert weighted(losses, weights, 3.5).item() == pytest.approx((1 + 2 + 16) / 3.5)
    parts = weighted(losses[:1], weights[:1], 3.5) + weighted(losses[1:], weights[1:], 3.5)
    assert parts.item() == pytest.approx((1 + 2 + 16) / 3.5)


def test_the_members_of_an_ensemble_are_combined_by_mean_minimum_or_mean_less_their_spread():
    scores = torch.tensor([[1.0, 4.0, 2.0], [3.0, 4.0, -1.0], [8.0, 4.0, 2.0]], dtype=D)
    assert ensemble_mean(scores).tolist() == pytest.approx([4, 4, 1])
    assert ensemble_minimum(scores).tolist() == pytest.approx([1, 4, -1])
    got = ensemble_mean_minus_uncertainty(scores, 0.5)
    assert got.tolist() == pytest.approx([4 - 0.5 * math.sqrt(26 / 3), 4, 1 - 0.5 * math.sqrt(2)])
    rescaled = ensemble_mean_minus_uncertainty(3 * scores + 7, 0.5)
    assert rescaled.tolist() == pytest.approx((3 * got + 7).tolist())
    assert ensemble_mean_minus_uncertainty(scores[:1], 2.0).tolist() == scores[0].tolist(), "one member is sure"


def test_the_scale_within_prompts_is_that_of_the_pooled_standard_deviation():
    # means 2, 10, 5: squared distances 1 + 1, 9 + 9, 0, of 5 scores and 3 prompts
    scores, prompts = t(1, 13, 3, 7, 5), torch.tensor([4, 9, 4, 9, 2])
    gain, bias = normalization_within_prompts(scores, prompts)
    assert gain == pytest.approx(1 / math.sqrt(20 / 2))
    assert bias == pytest.approx(-gain * 29 / 5)


def test_a_constant_of_each_prompt_does_not_change_the_gain_within_prompts():
    generator = torch.Generator().manual_seed(2)
    scores, prompts = torch.randn(40, generator=generator), torch.arange(40) % 10
    moved = scores + 100 * torch.randn(10, generator=generator)[prompts]
    within = normalization_within_prompts(scores, prompts).gain
    assert normalization_within_prompts(moved, prompts).gain == pytest.approx(within, rel=1e-4)
    assert normalization_overall(moved).gain < within / 10


def test_normalized_scores_have_mean_0_and_standard_deviation_1():
    scores = 3 + 2.5 * torch.randn(50, generator=torch.Generator().manual_seed(3))
    gain, bias = normalization_overall(scores)
    assert (gain * scores + bias).mean().item() == pytest.approx(0, abs=1e-5)
    assert (gain * scores + bias).std().item() == pytest.approx(1, abs=1e-5)
    gain, bias = normalization_within_prompts(scores, torch.zeros(50))
    assert (gain, bias) == pytest.approx(normalization_overall(scores)), "one prompt has no other spread"


@pytest.mark.parametrize("scores", [t(0, 0, 0, 0), torch.full((4,), 0.1) + torch.tensor([0, 1e-8, 0, 0])])
def test_scores_without_spread_keep_their_scale(scores):
    for gain, bias in (normalization_overall(scores), normalization_within_prompts(scores, torch.tensor([0, 0, 1, 1]))):
        assert gain == 1
        assert bias == pytest.approx(-scores[0].item(), abs=1e-7)


MASK = real([1, 1])
ROW = torch.zeros(1, 2)
WRONG = {
    "shapes": lambda: sure(t(1, 2), t(1.0)),
    "a column": lambda: sure(torch.zeros(2, 1), torch.zeros(2, 1)),
    "a target above 1": lambda: bradley_terry(t(1.0), t(0.0), t(1.1), t(0.0)),
    "a target that is no number": lambda: bradley_terry(t(1.0), t(0.0), t(NAN), t(0.0)),
    "a negative margin": lambda: bradley_terry(t(1.0), t(0.0), t(1.0), t(-1.0)),
    "only noise": lambda: sure(t(1.0), t(0.0), 1.0),
    "negative noise": lambda: all_pairs(ROW, ROW, MASK, -0.1),
    "one response": lambda: all_pairs(ROW, ROW, real([1, 0])),
    "one column": lambda: all_pairs(ROW[:, :1], ROW[:, :1], MASK[:, :1]),
    "a vector": lambda: all_pairs(ROW[0], ROW[0], MASK[0]),
    "other ratings": lambda: all_pairs(ROW, ROW[:, :1], MASK),
    "centers of one": lambda: centering_of_all_pairs(ROW, real([0, 1])),
    "centers of other shapes": lambda: centering(t(1, 2), t(1.0)),
    "no response": lambda: rating_error(ROW, ROW, real([0, 0])),
    "ratings of other shapes": lambda: rating_error(ROW, ROW[:, :1], MASK),
    "weights of other shapes": lambda: weighted(t(1, 2), t(1.0), 1.0),
    "a negative weight": lambda: weighted(t(1, 2), t(1, -1), 1.0),
    "no weight": lambda: weighted(t(1, 2), t(0, 0), 0.0),
    "no member": lambda: ensemble_mean(torch.zeros(0, 3)),
    "one response a prompt": lambda: normalization_within_prompts(t(1, 2), torch.tensor([0, 1])),
    "a score that is not finite": lambda: normalization_overall(t(1, NAN)),
    "one score": lambda: normalization_overall(t(1.0)),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(ValueError, match=r"\w"):
        wrong()
