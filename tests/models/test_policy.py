from dataclasses import replace
from functools import partial

import pytest
import torch

from rlnlp.batching import forward_in_micro_batches
from rlnlp.maths.distribution import Distribution
from rlnlp.models.calling import positions
from rlnlp.models.fast import first_pass_kept
from rlnlp.models.policy import Policy, logprob_fn, remembered
from rlnlp.rollout.sampling import sample
from rlnlp.types import Prompts, Rollout, take
from support import reference, small

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
PROMPTS = [[(3 * i + 5 * j * j) % 13 + 3 for j in range(1 + i % 5)] for i in range(12)]
DRAWN = [
    small.plain(),
    small.plain(0.7),
    Distribution(1.5, 5, 1.0, 0, (small.END,)),
    Distribution(1.5, 0, 0.8, 2, (small.END,)),
]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def policy(request):
    return small.policy(seed=1) if request.param == "llama" else Policy(small.gpt2())


@pytest.fixture(scope="module", params=DRAWN, ids=["plain", "cold", "top-k", "top-p"])
def distribution(request):
    return request.param


@pytest.fixture(scope="module")
def rollout(policy, distribution):
    uniforms = torch.rand(12, 12, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    drawn = sample(policy, small.prompts(*PROMPTS), uniforms, distribution, pad=0)
    assert len(set(drawn.mask.sum(1).tolist())) >= 3, "the rows must be ragged, or padding is not tested"
    assert not drawn.prompts.mask[:, 0].all()
    return drawn


def says(policy, rollout, distribution):
    with torch.no_grad():
        return policy(rollout, distribution)


def assert_same(got, want):
    torch.testing.assert_close(got.logprobs, want.logprobs, **CLOSE)
    torch.testing.assert_close(got.entropy, want.entropy, **CLOSE)


def expected(policy, rollout, d):
    """Log-probabilities and entropies of each row from the model's plain logits: one sequence, no padding."""
    out = []
    for row in range(len(rollout.responses)):
        real = rollout.attention[row]
        chosen = torch.cat([torch.zeros_like(rollout.prompts.mask[row]), rollout.mask[row]])[real].tolist()
        tokens = rollout.tokens[row][real]
        with torch.no_grad():
            logits = policy.lm(tokens.unsqueeze(0)).logits[0]
        logprobs, entropies = [], []
        for t in (t for t, on in enumerate(chosen) if on):
            few = [z / d.temperature for z in logits[t - 1].tolist()]
            if len(logprobs) < d.min_new_tokens:
                few = reference.restrict(few, set(range(len(few))) - set(d.end))
            few = reference.restrict(few, reference.top_k_set(few, d.top_k))
            few = reference.restrict(few, reference.top_p_set(few, d.top_p) if d.top_p < 1 else set(range(len(few))))
            logprobs.append(reference.log_softmax(few)[tokens[t]])
            entropies.append(reference.entropy(few))
        out.append((logprobs, entropies))
    return out


def assert_as_expected(policy, rollout, d):
    got = says(policy, rollout, d)
    for row, (logprobs, entropies) in enumerate(expected(policy, rollout, d)):
        mask = rollout.mask[row]
        assert got.logprobs[row][mask].tolist() == pytest.approx(logprobs, rel=1e-5, abs=1e-5)
        assert got.entropy[row][mask].tolist() == pytest.approx(entropies, rel=1e-5, abs=1e-5)
        assert got.logprobs[row][~mask].tolist() == got.entropy[row][~mask].tolist() == [0.0] * int((~mask).sum())


def test_logprobs_and_entropy_match_one_sequence_at_a_time_without_padding(policy, rollout, distribution):
    assert_as_expected(policy, rollout, distribution)


def test_padding_on_either_side_and_the_tokens_behind_the_mask_change_nothing(policy, rollout, distribution):
    p = rollout.prompts
    wide = Prompts(
        torch.cat([torch.full((12, 3), 13), p.tokens.where(p.mask, torch.tensor(11))], dim=1),
        torch.cat([torch.zeros(12, 3, dtype=torch.bool), p.mask], dim=1),
        p.rows,
    )
    behind = torch.full((12, 2), 9)
    off = torch.zeros(12, 2, dtype=torch.bool)
    responses = torch.cat([rollout.responses.where(rollout.mask, torch.tensor(14)), behind], dim=1)
    mask = torch.cat([rollout.mask, off], dim=1)
    other = Rollout(wide, responses, mask, torch.cat([wide.mask, mask], dim=1), rollout.ended)
    got, want = says(policy, other, distribution), says(policy, rollout, distribution)
    assert not got.logprobs[:, -2:].any()
    assert not got.entropy[:, -2:].any()
    assert_same(replace(got, logprobs=got.logprobs[:, :-2], entropy=got.entropy[:, :-2]), want)


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_the_scorer_gives_the_same_whatever_its_micro_batch(policy, rollout, distribution, size):
    want = says(policy, rollout, distribution).logprobs
    torch.testing.assert_close(logprob_fn(policy, distribution, size)(rollout), want, **CLOSE)


def test_a_row_of_a_batch_is_what_it_is_alone(policy, rollout, distribution):
    whole = says(policy, rollout, distribution)
    for row in range(12):
        alone = says(policy, take(rollout, torch.tensor([row])), distribution)
        want = replace(whole, logprobs=whole.logprobs[row : row + 1], entropy=whole.entropy[row : row + 1])
        assert_same(alone, want)


def test_permuted_rows_give_permuted_values(policy, rollout, distribution):
    order = torch.tensor([3, 0, 4, 2, 1, 11, 7, 6, 5, 10, 9, 8])
    whole = says(policy, rollout, distribution)
    want = replace(whole, logprobs=whole.logprobs[order], entropy=whole.entropy[order])
    assert_same(says(policy, take(rollout, order), distribution), want)


def conversation():
    """A user's turn inside the responses of two rows: read, but not chosen."""
    prompts = small.prompts([1, 5, 6], [7])
    responses = torch.tensor([[8, 9, 10, 11, 12, 2], [8, 13, 14, 15, 3, 0]])
    mask = torch.tensor([[True, True, False, False, True, True], [True, False, False, True, True, False]])
    read = torch.tensor([[True] * 6, [True] * 5 + [False]])
    return Rollout(prompts, responses, mask, torch.cat([prompts.mask, read], dim=1), torch.tensor([True, False]))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_hole_in_the_mask_has_zeros_and_right_values_after_it(policy, temperature):
    talk = conversation()
    assert all(map(reference.has_hole, talk.mask.tolist()))
    assert_as_expected(policy, talk, small.plain(temperature))


def test_a_user_s_turn_does_not_count_towards_the_least_length(policy):
    talk = conversation()
    d = Distribution(1.0, 0, 1.0, 3, (small.END,))
    assert_as_expected(policy, talk, d)
    free = says(policy, talk, small.plain()).logprobs
    bound = says(policy, talk, d).logprobs
    assert bound[0, 4] > free[0, 4], "the third chosen token stands behind the hole and cannot be the end token"
    torch.testing.assert_close(bound[0, 5], free[0, 5], **CLOSE)


@pytest.mark.parametrize(("k", "p"), [(1, 1.0), (2, 1.0), (0, 1e-6), (0, 0.5), (3, 0.5)])
def test_a_token_outside_a_filter_keeps_a_finite_logprob_and_gradient(k, p):
    policy = small.policy(seed=1)
    uniforms = torch.rand(12, 12, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    rollout = sample(policy, small.prompts(*PROMPTS), uniforms, small.plain(2.0), pad=0)
    d = Distribution(2.0, k, p, 0, (small.END,))
    out = policy(rollout, d)
    assert (says(policy, rollout, small.plain(2.0)).logprobs < out.logprobs - 1e-4).any(), (
        "the filter rules nothing out"
    )
    assert out.logprobs[rollout.mask].min() > -50
    assert out.logprobs.max() <= 1e-6
    (out.logprobs.sum() + out.entropy.sum()).backward()
    assert all(bool(weight.grad.isfinite().all()) for weight in policy.parameters())


def test_dropout_is_off_so_that_sampling_and_scoring_see_one_distribution():
    noisy = small.gpt2()
    assert noisy.training
    policy, d, talk = Policy(noisy), small.plain(), conversation()
    assert torch.equal(says(policy, talk, d).logprobs, says(policy, talk, d).logprobs)


def test_positions_count_real_tokens_only():
    attention = torch.tensor([[False, False, True, True, True], [True, False, True, True, False]])
    assert positions(attention).tolist() == [[0, 0, 0, 1, 2], [0, 0, 1, 2, 2]]


def test_the_reference_stays_as_it_was_when_the_policy_learns():
    policy, talk = small.policy(), conversation()
    kept = policy.reference()
    score = logprob_fn(policy, small.plain(), 2)
    before, then = score(talk), says(kept, talk, small.plain()).logprobs
    torch.testing.assert_close(then, before, **CLOSE)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.mul_(1.5)
    assert torch.equal(says(kept, talk, small.plain()).logprobs, then)
    assert not any(weight.requires_grad for weight in kept.parameters())
    assert all(weight.requires_grad for weight in policy.parameters())
    assert not torch.allclose(score(talk), before, atol=1e-2), "a logprob_fn asks the policy as it is when called"
    assert not score(talk).requires_grad


def test_a_reference_in_bfloat16_takes_half_of_the_memory_and_says_nearly_the_same():
    policy, talk = small.policy(), conversation()
    whole, half = policy.reference(torch.float32), policy.reference(torch.bfloat16)
    want = says(policy, talk, small.plain()).logprobs
    assert torch.equal(says(whole, talk, small.plain()).logprobs, want)
    assert 2 * sum(p.nbytes for p in half.parameters()) == sum(p.nbytes for p in policy.parameters())
    assert all(buffer.dtype != torch.bfloat16 for buffer in half.buffers()), "frequencies of positions stay exact"
    found = says(half, talk, small.plain()).logprobs
    assert found.dtype == torch.float32
    assert 1e-4 < float((found - want)[talk.mask].abs().max()) < 0.2
    assert policy.dtype == torch.float32
    assert all(p.dtype == torch.float32 and p.requires_grad for p in policy.parameters())


def gradient(forward, rollout, d, policy=None):
    policy = policy or forward
    policy.zero_grad()
    out = forward(rollout, d)
    (out.logprobs.sum() + 0.1 * out.entropy.square().sum()).backward()
    return torch.cat([weight.grad.flatten() for weight in policy.parameters()])


def passes(policy):
    """A list that grows with each pass through the model."""
    seen = []
    policy.lm.register_forward_pre_hook(lambda *call: seen.append(call))
    return seen


def test_the_pass_of_a_rollout_is_learned_from_once_without_a_second_pass():
    policy, talk, d = small.policy(seed=1), conversation(), small.plain()
    want, made = gradient(policy, talk, d), passes(policy)
    output = forward_in_micro_batches(partial(policy, distribution=d), talk, len(talk.mask))
    forward = first_pass_kept(partial(policy, distribution=d), talk, output)
    assert forward(take(talk, torch.arange(len(talk.mask)))) is not output, "the same rows, but not the same rollout"
    assert len(made) == 2
    torch.testing.assert_close(gradient(lambda rollout, _: forward(rollout), talk, d, policy), want, **CLOSE)
    assert len(made) == 2
    torch.testing.assert_close(gradient(lambda rollout, _: forward(rollout), talk, d, policy), want, **CLOSE)
    assert len(made) == 3, "a pass serves once: the weights may have moved"


@pytest.mark.parametrize("size", [1, 2])
def test_a_pass_in_micro_batches_is_that_of_the_whole_and_has_a_graph_if_it_is_one(size):
    policy, talk, d = small.policy(seed=1), conversation(), small.plain()
    want, made = says(policy, talk, d), passes(policy)
    output = forward_in_micro_batches(partial(policy, distribution=d), talk, size)
    torch.testing.assert_close(output.logprobs, want.logprobs, **CLOSE)
    torch.testing.assert_close(output.entropy, want.entropy, **CLOSE)
    assert len(made) == len(talk.mask) / size
    assert output.logprobs.requires_grad == output.entropy.requires_grad == (size == len(talk.mask))
    assert not output.detach().logprobs.requires_grad


def test_a_pass_without_a_graph_is_never_learned_from():
    policy, talk, d = small.policy(seed=1), conversation(), small.plain()
    with torch.no_grad():
        output = policy(talk, d)
    forward = first_pass_kept(partial(policy, distribution=d), talk, output)
    assert forward(talk).logprobs.requires_grad


def test_the_last_token_is_not_read_and_only_the_places_before_the_response_reach_the_head():
    policy, talk = small.policy(seed=1), conversation()
    places = {}
    for name, part in {"read": policy.lm.get_input_embeddings(), "head": policy.lm.get_output_embeddings()}.items():
        part.register_forward_pre_hook(lambda part, x, name=name: places.update({name: x[0].shape[1]}))
    says(policy, talk, small.plain())
    assert places == {"read": talk.attention.shape[1] - 1, "head": talk.mask.shape[1]}


def test_an_answer_is_remembered_for_the_same_rollout_only():
    asked = []

    def ask(rollout):
        asked.append(rollout)
        return len(asked)

    first, second, memory = conversation(), conversation(), remembered(ask)
    assert [memory(first), memory(first), memory(second), memory(second), memory(first)] == [1, 1, 2, 2, 3]
    assert [id(r) for r in asked] == [id(first), id(second), id(first)]


def test_all_weights_of_a_policy_learn_and_none_of_its_reference():
    policy = small.policy()
    reference = policy.reference()
    assert {id(p) for p in policy.trainable()} == {id(p) for p in policy.parameters()}
    assert reference.trainable() == []
    assert not {id(p) for p in reference.parameters()} & {id(p) for p in policy.parameters()}
    assert (policy.hidden_size, policy.vocabulary, policy.device.type) == (32, 16, "cpu")


def test_context_length_is_read_from_either_kind_of_config():
    assert small.policy().context == 64
    assert Policy(small.gpt2()).context == 64
