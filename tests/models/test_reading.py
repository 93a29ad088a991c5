"""Responses that share their prompt: the numbers and gradients of each one read behind its own, alone."""

import copy

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from rlnlp.models.block_attention import UNKNOWN, even
from rlnlp.models.critic import PolicyWithValueHead, critic_like, value_head
from rlnlp.models.group_attention import group_attention
from rlnlp.models.policy import Policy, logprob_fn
from rlnlp.models.reading import Sharing, each_alone, grouped, reading
from rlnlp.models.shared_prompt import Size, size_of
from rlnlp.rollout.sampling import sample
from rlnlp.types import Rollout, take
from support import small

PROMPTS = [[3, 4, 5, 6], [7, 8], [9, 3, 4, 5, 6, 7]]
GROUPED = [(0, 5), (1, 2), (0, 3), (2, 1), (1, 4), (0, 5), (2, 2)]  # the prompt of each response, its tokens
WHEREVER = Size(10**9, 1, 1)  # sharing pays for a model of this size: its attention is no work
PLAIN = small.plain()


def rollout(longest=5):
    prompts = take(small.prompts(*PROMPTS), torch.tensor([prompt for prompt, _ in GROUPED]))
    lengths = torch.tensor([min(n, longest) for _, n in GROUPED])
    there = torch.arange(longest) < lengths.unsqueeze(1)
    tokens = torch.randint(3, 16, there.shape, generator=torch.Generator().manual_seed(1))
    mask = there.clone()
    mask[4, 1:2] = False  # read, and not chosen by the policy
    return Rollout(prompts, tokens.where(there, 0), mask, torch.cat([prompts.mask, there], dim=1), lengths < longest)


def models():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        grouped_heads = Qwen2Config(
            vocab_size=16, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, initializer_range=0.3, attn_implementation="eager",
        )  # fmt: skip
        yield "llama", small.lm(16)
        yield "gpt2", small.gpt2()
        yield "qwen2", Qwen2ForCausalLM(grouped_heads)


def sharing(window=64):
    return Sharing(WHEREVER, window)


def with_head(policy):
    model = PolicyWithValueHead(policy, value_head(policy))
    torch.nn.init.normal_(model.head.linear.weight, generator=torch.Generator().manual_seed(3))
    return model


def loss(out, mask):
    weights = torch.randn(mask.shape, generator=torch.Generator().manual_seed(2))
    return ((out.logprobs + 0.3 * out.entropy + 0.2 * out.values) * weights).sum()


def alone(model, whole):
    """The output of each response by itself: no padding, no other response."""
    outs = [model(take(whole, torch.tensor([i])), PLAIN) for i in range(len(whole.mask))]
    return type(outs[0])(**{name: torch.cat([vars(out)[name] for out in outs]) for name in vars(outs[0])})


@pytest.mark.parametrize("longest", [1, 5])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_numbers_and_gradients_are_those_of_each_response_alone(kind, longest):
    policy, whole = Policy(dict(models())[kind]), rollout(longest)
    model = with_head(policy)
    weights = list(model.parameters())
    want = alone(model, whole)
    slopes = torch.autograd.grad(loss(want, whole.mask), weights)
    policy.sharing = sharing()
    assert reading(whole, policy.sharing, 0).tokens.shape[0] == 3, "one row for each prompt"
    got = model(whole, PLAIN)
    for name, figures in vars(got).items():
        torch.testing.assert_close(figures, vars(want)[name], rtol=0, atol=1e-5)
    for one, other in zip(torch.autograd.grad(loss(got, whole.mask), weights), slopes, strict=True):
        assert float((one - other).norm()) <= 5e-6 * float(other.norm())


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_in_blocks_of_queries_numbers_and_gradients_are_the_same(kind, together, monkeypatch):
    policy, whole = Policy(dict(models())[kind]), rollout()
    model = with_head(policy)
    weights = list(model.parameters())
    if not together:
        monkeypatch.setattr("rlnlp.models.reading.PAYS", 0.0)
    policy.sharing = Sharing(WHEREVER, 64, blocks_from=1000)
    want = model(whole, PLAIN)
    slopes = torch.autograd.grad(loss(want, whole.mask), weights)
    policy.sharing = Sharing(WHEREVER, 64, blocks_from=0)
    monkeypatch.setattr("rlnlp.models.reading.BLOCK", 3)
    assert (reading(whole, policy.sharing, 0).shared, reading(whole, policy.sharing, 0).block) == (together, 3)
    for again in (False, True):
        if again:
            policy.recompute_layers()
        got = model(whole, PLAIN)
        for name, figures in vars(got).items():
            torch.testing.assert_close(figures, vars(want)[name], rtol=0, atol=1e-5)
        for one, other in zip(torch.autograd.grad(loss(got, whole.mask), weights), slopes, strict=True):
            assert float((one - other).norm()) <= 5e-6 * float(other.norm())


def test_only_long_texts_are_read_in_blocks_and_those_that_a_window_does_not_cut():
    many = Sharing(Size(1, 1, 1), 300)
    found = [many.block(prompt, 200) for prompt in (55, 56, 100, 101)]
    assert found == [None, 128, 128, None]


@pytest.mark.parametrize(("length", "most", "want"), [(272, 128, 91), (128, 128, 128), (129, 128, 65), (5, 128, 5)])
def test_blocks_are_of_one_size(length, most, want):
    assert even(length, most) == want


@pytest.mark.parametrize("together", [False, True])
def test_what_is_kept_for_the_backward_pass_grows_with_the_length_and_not_with_its_square(together):
    policy = Policy(small.lm(16, layers=1, context=2048))

    def kept(length, block):
        prompts = small.prompts([3] * 8).repeat(2)
        mask = torch.ones(2, length, dtype=torch.bool)
        whole = Rollout(prompts, mask.long() * 3, mask, torch.cat([prompts.mask, mask], 1), mask[:, 0])
        read = grouped(whole, [[0, 1]], 0, block) if together else each_alone(whole, 0, block)
        seen = {}
        with torch.autograd.graph.saved_tensors_hooks(lambda x: seen.setdefault(x.data_ptr(), x), lambda x: x):
            policy.outputs(read)
        return sum(x.nbytes for x in seen.values() if x.dtype == torch.float32)

    short, long = kept(200, 32), kept(800, 32)
    assert long < 4.4 * short
    assert kept(800, None) > 6 * kept(200, None), "plain attention"


def test_a_layer_that_is_computed_again_attends_as_it_did():
    policy, whole = Policy(small.lm(16)), rollout()
    policy.sharing = sharing()
    model = with_head(policy)
    slopes = torch.autograd.grad(loss(model(whole, PLAIN), whole.mask), policy.trainable())
    policy.recompute_layers()
    copied = copy.deepcopy(model)  # as a reference is
    for each in (model, copied):
        again = torch.autograd.grad(loss(each(whole, PLAIN), whole.mask), each.policy.trainable())
        torch.testing.assert_close(again, slopes, rtol=0, atol=0)
    assert policy.lm.config._attn_implementation == "eager"


def test_a_critic_of_its_own_shares_prompts_as_its_policy_does():
    policy, whole = Policy(small.lm(16)), rollout()
    plain = critic_like(policy)
    policy.sharing = sharing()
    critic = critic_like(policy)
    for each in (plain, critic):
        each.head.load_state_dict(with_head(policy).head.state_dict())
    assert (plain.sharing, critic.sharing) == (None, policy.sharing)
    torch.testing.assert_close(critic(whole), plain(whole), rtol=0, atol=2e-5)
    read = []
    critic.trunk.register_forward_pre_hook(lambda _, args, named: read.append(named["input_ids"]), with_kwargs=True)
    critic(whole)
    assert len(read[0]) == 3


def test_a_part_of_a_rollout_that_is_cut_anyhow_shares_what_it_has_in_common():
    policy, whole = Policy(small.lm(16)), rollout()
    want = policy(whole, PLAIN).logprobs
    policy.sharing = sharing()
    for size in (1, 2, 3, 4, 7):
        torch.testing.assert_close(logprob_fn(policy, PLAIN, size)(whole), want, rtol=0, atol=1e-5)
    for rows in ([0, 3, 1], [6, 5, 4, 2, 0], [3, 3]):
        part = torch.tensor(rows)
        torch.testing.assert_close(policy(take(whole, part), PLAIN).logprobs, want[part], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_prompt_is_read_once_and_its_responses_are_those_that_each_would_have(kind):
    policy = Policy(dict(models())[kind])
    prompts = take(small.prompts(*PROMPTS), torch.tensor([0, 1, 0, 2, 1, 0]))
    uniforms = torch.rand(6, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    apart = [sample(policy, take(prompts, torch.tensor([i])), uniforms[i : i + 1], PLAIN, 0) for i in range(6)]
    policy.sharing = sharing()
    read = []
    policy.lm.register_forward_pre_hook(lambda _, args, named: read.append(named["input_ids"].shape), with_kwargs=True)
    together = sample(policy, prompts, uniforms, PLAIN, 0)
    assert read[0] == (3, 6)
    assert read[1] == (6, 1)
    for i, one in enumerate(apart):
        assert together.responses[i][together.mask[i]].tolist() == one.responses[0][one.mask[0]].tolist()
        assert bool(together.ended[i]) == bool(one.ended[0])


def test_how_many_responses_stand_behind_a_prompt_is_the_count_with_the_least_work():
    # A token is 1,000 multiplications, a score of attention 2 x 2 x 1 layer x width 10 = 40.
    how = Sharing(Size(1000, 1, 10), 64)
    four = [0, 0, 0, 0]
    # Alone 4 x (15 x 1000 + 225 x 40) = 96,000; in twos 2 x (20 x 1000 + (100 + 10 x 15) x 40) = 60,000;
    # all four 30 x 1000 + (100 + 20 x 15) x 40 = 46,000.
    assert how.responses_in_a_row(four, 10, 5) == 4
    assert how.responses_in_a_row([0, 1, 2, 3], 10, 5) == 1, "there is nothing to share"
    # Alone 96,000, of which .95 are 91,200; in twos three rows, 90,000; in threes 2 x (25,000 + 325 x 40) = 76,000.
    assert how.responses_in_a_row([0, 0, 1, 0], 10, 5) == 3
    # A prompt of one token: alone 4 x (51 x 1000 + 2601 x 40) = 620,160; all four 201 x 1000 + 10,201 x 40 = 609,040.
    assert how.responses_in_a_row(four, 1, 50) == 1, "less than .05 of the work is saved"
    assert how.responses_in_a_row(four, 10, 55) == 1, "the last token does not see the first of the prompt"
    assert how.responses_in_a_row(four, 10, 54) == 4


def test_the_size_of_a_model_is_that_of_its_weights_but_the_embedding():
    body = small.lm(16).base_model
    # Of each of 2 layers 4 x 32 x 32 for attention, 3 x 32 x 128 for the feed-forward block, 2 x 32 of norms; 32 more.
    assert size_of(body) == Size(2 * (4 * 1024 + 3 * 4096 + 64) + 32, 2, 32)


@pytest.mark.parametrize("name", UNKNOWN)
def test_attention_that_does_more_to_its_scores_is_refused(name):
    query, sees = torch.zeros(1, 2, 3, 4), torch.ones(1, 1, 1, 3, dtype=torch.bool)  # two tokens of a prompt, one more
    assert group_attention(torch.nn.Identity(), query, query, query, sees, **{name: None})[0].shape == (1, 3, 2, 4)
    with pytest.raises(NotImplementedError, match=f"attention with {name}"):
        group_attention(torch.nn.Identity(), query, query, query, sees, **{name: 1.0})


def test_the_work_of_a_prompt_and_its_responses_by_hand():
    size = Size(10, 2, 3)  # weights, layers, width
    assert size.work(5, 4) == 5 * (4 * 10 + 2 * 2 * 2 * 3 * 16)
    # a prompt of 4 and 3 responses of 2: 10 tokens; 16 scores in the prompt, and each of 6 tokens looks at 4 + 2
    assert size.group_work(4, 3, 2) == 10 * 10 + 2 * 2 * 2 * 3 * (16 + 36)


def test_what_fills_a_row_up_is_masked_and_nothing_else_is():
    whole = rollout()
    rows = [[0, 2, 5], [1, 4], [3, 6]]  # two of them lack a response
    read = grouped(whole, rows, 0)
    shown = read.rollout.mask.unflatten(0, (3, 3))
    for number, row in enumerate(rows):
        assert torch.equal(shown[number, : len(row)], whole.mask[row])
        assert not shown[number, len(row) :].any()
