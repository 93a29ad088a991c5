import math

import pytest
import torch

from rlnlp.maths.distribution import BANNED, Distribution, draw_logits, inverse_cdf, taken_logits
from rlnlp.maths.token_statistics import logprobs_and_entropy
from support import reference, small

D = torch.float64
BELOW_1 = math.nextafter(1.0, 0.0)


def distribution(temperature=1.0, top_k=0, top_p=1.0, min_new_tokens=0, end=(2,)):
    return Distribution(temperature, top_k, top_p, min_new_tokens, end)


def random_logits(*shape, dtype=torch.float32):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def kept(logits):
    """Sets of the tokens that are not ruled out, one per row."""
    return [set((row > BANNED / 2).nonzero().flatten().tolist()) for row in logits]


def at_position(logits, position=0):
    return torch.full(logits.shape[:-1], position)


def test_the_logits_are_left_as_they_were():
    logits = random_logits(2, 3, 5).requires_grad_(True)
    before = logits.detach().clone()
    taken = taken_logits(logits, at_position(logits), at_position(logits), distribution())
    logprobs, entropies = logprobs_and_entropy(taken, at_position(logits))
    (logprobs.sum() + entropies.sum()).backward()
    assert torch.equal(logits, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_left_before_anything_is_computed(dtype):
    logits = random_logits(4, 9).to(dtype)
    for d in (distribution(0.7), distribution(0.7, top_k=3)):
        assert draw_logits(logits, at_position(logits), d).dtype == torch.float32
        got = taken_logits(logits, logits.argmax(-1), at_position(logits), d)
        torch.testing.assert_close(got, taken_logits(logits.float(), logits.argmax(-1), at_position(logits), d))


def test_temperature_divides_the_logits():
    logits = random_logits(2, 5)
    got = draw_logits(logits, at_position(logits), distribution(temperature=0.5))
    torch.testing.assert_close(got, 2 * logits)


@pytest.mark.parametrize("k", [1, 2, 5, 10, 11, 0])
def test_top_k_keeps_the_set_of_the_slow_reference(k):
    logits = random_logits(50, 10)
    got = draw_logits(logits, at_position(logits), distribution(top_k=k))
    assert kept(got) == [reference.top_k_set(row, k) for row in logits.tolist()]


@pytest.mark.parametrize(("k", "want"), [(1, {1}), (2, {1, 3, 4}), (3, {1, 3, 4}), (4, {0, 1, 2, 3, 4, 5})])
def test_tokens_as_likely_as_the_last_of_top_k_are_kept_and_greedy_decoding_has_one(k, want):
    logits = torch.tensor([[1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 0.0]])
    assert kept(draw_logits(logits, at_position(logits), distribution(top_k=k))) == [want]
    assert kept(draw_logits(logits.expand(3, 7), at_position(logits).expand(3), distribution(top_k=k))) == [want] * 3


@pytest.mark.parametrize("p", [1e-6, 0.3, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_top_p_keeps_the_set_of_the_slow_reference(p, temperature):
    logits = random_logits(50, 10)
    got = draw_logits(logits, at_position(logits), distribution(temperature, top_p=p))
    want = [reference.top_p_set([z / temperature for z in row], p) for row in logits.tolist()]
    assert kept(got) == want
    assert p in (1e-6, 1.0) or len(set(map(len, want))) > 1, "sets of one size would test little"


def test_top_p_keeps_the_token_that_crosses_the_border():
    # Peers differ: some keep only while the sum is at most p, which would leave one token here.
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    assert kept(draw_logits(logits, at_position(logits), distribution(top_p=0.6))) == [{0, 1}]


def test_top_p_stops_at_the_token_that_reaches_p_exactly():
    logits = torch.tensor([[0.25, 0.5, 0.125, 0.125]]).log()
    assert kept(draw_logits(logits, at_position(logits), distribution(top_p=0.5))) == [{1}]


def test_top_p_is_taken_of_what_top_k_leaves():
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    # 0.4 / 0.7 = 0.57 crosses 0.5 among two tokens, but not among four
    assert kept(draw_logits(logits, at_position(logits), distribution(top_k=2, top_p=0.5))) == [{0}]
    assert kept(draw_logits(logits, at_position(logits), distribution(top_p=0.5))) == [{0, 1}]


@pytest.mark.parametrize(("position", "allowed"), [(0, False), (1, False), (2, True), (3, True)])
def test_end_tokens_are_ruled_out_before_the_minimum_length(position, allowed):
    logits = random_logits(1, 6)
    got = draw_logits(logits, at_position(logits, position), distribution(min_new_tokens=2, end=(2, 4)))
    assert kept(got) == [set(range(6)) if allowed else {0, 1, 3, 5}]


def test_the_minimum_length_counts_before_top_k_so_that_k_tokens_remain():
    logits = torch.tensor([[1.0, 2.0, 9.0, 3.0]])
    assert kept(draw_logits(logits, at_position(logits), distribution(top_k=2, min_new_tokens=1))) == [{1, 3}]


def test_what_is_kept_has_the_probabilities_of_the_restricted_softmax():
    logits = random_logits(4, 8)
    d = distribution(0.7, top_k=5, top_p=0.8)
    got = draw_logits(logits, at_position(logits), d).softmax(-1)
    for row, probabilities in zip(logits.tolist(), got.tolist(), strict=True):
        scaled = [z / 0.7 for z in row]
        few = reference.restrict(scaled, reference.top_k_set(scaled, 5))
        few = reference.restrict(few, reference.top_p_set(few, 0.8))
        mass = sum(math.exp(z) for z in few)
        assert probabilities == pytest.approx([math.exp(z) / mass for z in few], abs=1e-6)


@pytest.mark.parametrize("d", [distribution(top_k=2), distribution(top_p=0.5), distribution(min_new_tokens=1)])
def test_a_taken_token_outside_the_filter_keeps_a_finite_logprob(d):
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()
    token = torch.tensor([2 if d.min_new_tokens else 0])
    assert token.item() not in kept(draw_logits(logits, at_position(logits), d))[0], "or nothing is tested"
    got = taken_logits(logits, token, at_position(logits), d)
    assert kept(got)[0] == kept(draw_logits(logits, at_position(logits), d))[0] | {token.item()}
    assert logprobs_and_entropy(got, token)[0].item() > -5


@pytest.mark.parametrize("d", [distribution(0.7), distribution(0.7, top_k=3), distribution(0.7, top_p=0.6)])
def test_taken_logits_are_the_drawn_ones_where_the_token_was_allowed(d):
    logits = random_logits(20, 6)
    drawn = draw_logits(logits, at_position(logits), d)
    torch.testing.assert_close(taken_logits(logits, drawn.argmax(-1), at_position(logits), d), drawn, rtol=0, atol=0)


def test_inverse_cdf_over_a_grid_of_numbers_has_the_softmax_as_frequencies():
    # Each token's stretch starts and ends inside one cell of the grid, so its count is off by less than one cell.
    logits, cells = random_logits(7, dtype=D), 100_000
    grid = (torch.arange(cells, dtype=D) + 0.5) / cells
    tokens = inverse_cdf(logits.expand(cells, -1), grid)
    fraction = (tokens.bincount(minlength=7) / cells).tolist()
    assert fraction == pytest.approx(reference.softmax(logits.tolist()), abs=1.01 / cells)


def test_inverse_cdf_matches_the_slow_walk():
    logits = random_logits(200, 9, dtype=D)
    u = torch.rand(200, generator=torch.Generator().manual_seed(2), dtype=D)
    want = [
        reference.inverse_cdf(reference.softmax(row), x) for row, x in zip(logits.tolist(), u.tolist(), strict=True)
    ]
    assert inverse_cdf(logits, u).tolist() == want


@pytest.mark.parametrize("dtype", [torch.float32, D])
@pytest.mark.parametrize("likely", [[0], [1, 3], [5], [0, 5], [2, 3, 4]])
def test_a_token_of_probability_zero_is_never_drawn(likely, dtype):
    logits = torch.full((6,), BANNED, dtype=dtype)
    logits[likely] = torch.arange(len(likely), dtype=dtype)
    u = torch.tensor([0.0, 5e-324, 1e-20, 0.1, 0.5, 0.9, 1 - 1e-12, BELOW_1], dtype=D)
    drawn = inverse_cdf(logits.expand(len(u), -1), u).tolist()
    assert set(drawn) <= set(likely)
    assert (drawn[0], drawn[-1]) == (likely[0], likely[-1])


def test_one_number_decides_one_token_whatever_the_other_rows_are():
    logits = random_logits(5, 9)
    u = torch.tensor([0.1, 0.4, 0.6, 0.8, BELOW_1], dtype=D)
    alone = [inverse_cdf(logits[i : i + 1], u[i : i + 1]).item() for i in range(5)]
    order = torch.tensor([3, 0, 4, 1, 2])
    assert inverse_cdf(logits, u).tolist() == alone
    assert inverse_cdf(logits[order], u[order]).tolist() == [alone[i] for i in order]


def test_a_distribution_knows_whether_it_rules_anything_out():
    assert not small.plain(0.7).filtered
    assert all(d.filtered for d in (distribution(top_k=1), distribution(top_p=0.9), distribution(min_new_tokens=1)))
    assert distribution(0.7, 3, 0.9, 2).unfiltered() == distribution(0.7)
