import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlnlp.maths.kl import ESTIMATORS, k1, k2, k3, limited_k3
from support import reference
from support.generated import MANY

D = torch.float64


def test_k1_of_the_published_case():
    # NeMo-RL tests/unit/algorithms/test_loss_functions.py::test_calculate_kl
    assert k1(torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([0.0, -15.0, -30.0])).tolist() == [-1, 14, 29]


def test_k2_and_k3_of_the_published_case():
    # The same test of NeMo-RL; with its limits (input 20, output 10) k3 is .7183, 10, 10.
    logprobs, ref = torch.tensor([-1.0] * 3, dtype=D), torch.tensor([0.0, -15.0, -30.0], dtype=D)
    assert k2(logprobs, ref).tolist() == [0.5, 98, 420.5]
    assert k3(logprobs, ref).tolist() == pytest.approx([0.7182818, 13.0, 28.0], abs=1e-6)
    assert limited_k3(logprobs, ref).tolist() == pytest.approx([0.7182818, 10.0, 10.0], abs=1e-6)
    assert limited_k3(ref, logprobs).tolist() == pytest.approx([0.3678794, 10.0, 10.0], abs=1e-6)


@given(st.floats(-30, 0), st.floats(-30, 0), st.sampled_from(["k1", "k2", "k3"]))
@MANY
def test_an_estimator_is_that_of_the_paper_and_k3_is_never_negative(logprob, ref, name):
    fast = {"k1": k1, "k2": k2, "k3": k3}[name]
    got = fast(torch.tensor(logprob, dtype=D), torch.tensor(ref, dtype=D)).item()
    assert got == pytest.approx(reference.kl_of_token(logprob, min(ref, logprob + 20) if name == "k3" else ref, name))
    limited = ESTIMATORS[name](torch.tensor(logprob, dtype=D), torch.tensor(ref, dtype=D)).item()
    assert limited == pytest.approx(min(got, 10) if name == "k3" else got)
    assert name == "k1" or min(got, limited) >= 0


def test_k3_of_equal_and_of_nearly_equal_tokens_is_0_and_loses_no_digits():
    logprobs = torch.tensor([-3.0, -3.0], dtype=D)
    got = k3(logprobs, logprobs + torch.tensor([0.0, 1e-6], dtype=D)).tolist()
    assert got == [0.0, pytest.approx(5e-13, rel=1e-3)]


def test_k3_of_a_token_that_the_policy_almost_never_takes_stays_finite_in_float32():
    logprobs, ref = torch.tensor([-200.0, -1e4]), torch.tensor([-1.0, -2.0])
    assert k3(logprobs, ref).tolist() == pytest.approx([4.8516517e8] * 2, rel=1e-6)  # e^20 - 21
    assert limited_k3(logprobs, ref).tolist() == [10.0, 10.0]


@pytest.mark.parametrize("estimator", [k1, k3])
@pytest.mark.parametrize("seed", range(5))
def test_the_expectation_of_k1_and_of_k3_under_the_policy_is_the_exact_kl(seed, estimator):
    logits, ref = 3 * torch.randn(2, 9, generator=torch.Generator().manual_seed(seed), dtype=D)
    policy = logits.log_softmax(-1)
    expected = (policy.exp() * estimator(policy, ref.log_softmax(-1))).sum().item()
    assert expected == pytest.approx(reference.kl(logits.tolist(), ref.tolist()), rel=1e-12, abs=1e-12)
    assert expected > 0.1, "two distributions that hardly differ would hide a wrong sign"
