import math

import pytest
import torch

from rlnlp.maths.distribution import BANNED
from rlnlp.maths.token_statistics import logprobs_and_entropy
from support import reference

D = torch.float64


def token_logprobs(logits, tokens):
    return logprobs_and_entropy(logits, tokens)[0]


def entropy(logits):
    return logprobs_and_entropy(logits, torch.zeros_like(logits[..., 0], dtype=torch.int64))[1]


def random_logits(*shape, dtype=torch.float32):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def test_token_logprobs_match_the_log_softmax_of_the_book():
    logits = random_logits(3, 4, 7, dtype=D)
    tokens = torch.randint(7, (3, 4), generator=torch.Generator().manual_seed(1))
    got = token_logprobs(logits, tokens)
    for b in range(3):
        for t in range(4):
            want = reference.log_softmax(logits[b, t].tolist())[tokens[b, t]]
            assert got[b, t].item() == pytest.approx(want, rel=1e-12)


def test_token_logprobs_by_hand():
    logits = torch.tensor([[math.log(1), math.log(2), math.log(5)]], dtype=D)
    assert token_logprobs(logits, torch.tensor([2])).item() == pytest.approx(math.log(5 / 8), rel=1e-14)


def test_entropy_matches_shannon():
    logits = random_logits(6, 9, dtype=D)
    assert entropy(logits).tolist() == pytest.approx([reference.entropy(row) for row in logits.tolist()], rel=1e-12)


def test_entropy_of_equal_logits_is_the_logarithm_of_their_number():
    assert entropy(torch.full((8,), 3.0, dtype=D)).item() == pytest.approx(math.log(8), rel=1e-14)


def test_entropy_and_its_gradient_take_no_part_in_banned_tokens():
    logits = torch.tensor([0.0, math.log(3), BANNED], dtype=D, requires_grad=True)
    two = torch.tensor([0.0, math.log(3)], dtype=D, requires_grad=True)
    entropy(logits).backward()
    entropy(two).backward()
    assert entropy(logits).item() == pytest.approx(reference.entropy([0.0, math.log(3)]), rel=1e-14)
    assert logits.grad.tolist() == pytest.approx([*two.grad.tolist(), 0.0], rel=1e-14)


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e3, 1e5])
def test_an_offset_common_to_all_logits_costs_no_digits(offset):
    logits = random_logits(6, 9) + offset  # rounded once, here
    rows, tokens = logits.tolist(), torch.tensor([0, 1, 2, 3, 4, 5])
    logprobs, got = logprobs_and_entropy(logits.requires_grad_(True), tokens)
    assert got.tolist() == pytest.approx([reference.entropy(row) for row in rows], abs=2e-6)
    want = [reference.log_softmax(row)[k] for k, row in enumerate(rows)]
    assert logprobs.tolist() == pytest.approx(want, abs=2e-6)
    (gradient,) = torch.autograd.grad((logprobs + got).sum(), logits)
    exact = torch.tensor(rows, dtype=D, requires_grad=True)
    plain = exact.log_softmax(-1)
    value = plain[range(6), range(6)] - (plain.exp() * plain).sum(-1)
    (expected,) = torch.autograd.grad(value.sum(), exact)
    torch.testing.assert_close(gradient, expected.float(), rtol=0, atol=3e-6)


def test_a_logit_of_minus_infinity_takes_no_part_in_value_and_gradient():
    three, two = torch.tensor([0.0, -math.inf, math.log(3)], dtype=D), torch.tensor([0.0, math.log(3)], dtype=D)
    found = []
    for logits in (three.requires_grad_(True), two.requires_grad_(True)):
        logprob, got = logprobs_and_entropy(logits, torch.tensor(0))
        (gradient,) = torch.autograd.grad(logprob + 2 * got, logits)
        found.append((logprob.item(), got.item(), gradient.tolist()))
    assert found[0][:2] == pytest.approx(found[1][:2], rel=1e-14)
    assert found[0][2] == pytest.approx([found[1][2][0], 0.0, found[1][2][1]], rel=1e-14)


@pytest.mark.parametrize("rows", [4, 11])
def test_many_rows_of_a_wide_vocabulary_have_the_values_and_gradients_of_autograd(rows):
    logits = random_logits(rows, 70_000, dtype=D).requires_grad_(True)
    tokens = torch.arange(rows) * 6_000
    by_logprob, by_entropy = torch.randn(2, rows, generator=torch.Generator().manual_seed(5), dtype=D)
    got = logprobs_and_entropy(logits, tokens)
    (gradient,) = torch.autograd.grad((by_logprob * got[0] + by_entropy * got[1]).sum(), logits)
    plain = logits.log_softmax(-1)
    want = plain[torch.arange(rows), tokens], -(plain.exp() * plain).sum(-1)
    (expected,) = torch.autograd.grad((by_logprob * want[0] + by_entropy * want[1]).sum(), logits)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("which", [0, 1])
def test_either_of_logprob_and_entropy_alone_has_the_gradient_of_finite_differences(which):
    logits = random_logits(3, 5, dtype=D).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda z: logprobs_and_entropy(z, torch.tensor([0, 4, 2]))[which], (logits,))


@pytest.mark.parametrize("rows", [4, 11])
def test_spent_logits_become_their_gradient_once(rows):
    tokens, seen = torch.arange(rows) * 6_000, []
    for spent in (False, True):
        leaf = random_logits(rows, 70_000, dtype=D).requires_grad_(True)
        logits = leaf * 1
        logprobs, entropies = logprobs_and_entropy(logits, tokens, spent)
        loss = (logprobs * 2 + entropies * torch.arange(rows)).sum()
        (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
        assert (gradient.data_ptr() == logits.data_ptr()) == spent
        seen.append(gradient)
    assert torch.equal(*seen)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, logits)
