import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from rlnlp.errors import Exit, Failure
from rlnlp.maths.distribution import Distribution
from rlnlp.models.policy import Policy
from rlnlp.rollout.sampling import sample, sampler
from rlnlp.types import Prompts, take
from support import reference, small

D = torch.float64
PROMPTS = [[(3 * i + 5 * j * j) % 13 + 3 for j in range(1 + i % 5)] for i in range(24)]
LONGEST = 10
GREEDY = Distribution(1.0, 1, 1.0, 0, (small.END,))


class Script(torch.nn.Module):
    """A language model that says given tokens, whatever it reads; also the cache that remembers which rows are left."""

    def __init__(self, responses, vocabulary):
        super().__init__()
        self.responses, self.vocabulary, self.left, self.place = torch.tensor(responses), vocabulary, None, 0

    def batch_select_indices(self, keep):
        self.left = self.left[keep]

    def forward(self, input_ids, **_):
        if self.left is None:
            self.left = torch.arange(len(input_ids))
        assert len(input_ids) == len(self.left), "the cache must lose the rows that the batch loses"
        said = self.responses[self.left, self.place]
        self.place += 1
        logits = torch.nn.functional.one_hot(said, self.vocabulary).unsqueeze(1) * 100.0
        return SimpleNamespace(logits=logits, past_key_values=self)


@pytest.fixture(scope="module")
def policy():
    return small.policy(seed=1)


@pytest.fixture(scope="module")
def learned_positions():
    """Rotary positions are relative and would forgive a prompt that padding has moved."""
    config = GPT2Config(
        vocab_size=16, n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.5, bos_token_id=1,
        eos_token_id=small.END, attn_implementation="eager",
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(9)
        return Policy(GPT2LMHeadModel(config))


def numbers(count, longest=LONGEST, seed=0):
    return torch.rand(count, longest, generator=torch.Generator().manual_seed(seed), dtype=D)


def rows_of(rollout):
    return [row[mask].tolist() for row, mask in zip(rollout.responses, rollout.mask, strict=True)]


def draw(policy, prompts, uniforms, d=None):
    return sample(policy, prompts, uniforms, d or small.plain(1.5), pad=0)


def next_logits(policy, tokens):
    with torch.no_grad():
        return policy.lm(torch.tensor([tokens])).logits[0, -1]


def undecided(policy):
    """The prompt after which the policy is least sure."""
    return max(PROMPTS, key=lambda prompt: reference.entropy(next_logits(policy, prompt).tolist()))


def test_top_k_1_writes_what_the_greedy_search_of_transformers_writes(policy):
    prompts = small.prompts(*PROMPTS)
    got = draw(policy, prompts, numbers(24), GREEDY)
    want = policy.lm.generate(
        prompts.tokens, attention_mask=prompts.mask.long(), do_sample=False, max_new_tokens=LONGEST,
        eos_token_id=small.END, pad_token_id=0,
    )  # fmt: skip
    assert got.ended.any(), "no response ends early: the end is not tested"
    assert not got.ended.all()
    assert len(set(got.mask.sum(1).tolist())) > 2
    with torch.no_grad():
        best = policy.outputs(policy.reading(got)).logits.topk(2, -1).values
    near_tie = ((best[..., 0] - best[..., 1] < 1e-3) & got.mask).any(1)
    assert near_tie.sum() < 6, "rounding would decide most rows"
    assert torch.equal(got.responses[~near_tie], want[~near_tie, prompts.tokens.shape[1] :])


def test_greedy_does_not_read_the_numbers(policy):
    prompts = small.prompts(*PROMPTS)
    assert rows_of(draw(policy, prompts, numbers(24), GREEDY)) == rows_of(
        draw(policy, prompts, numbers(24, seed=1), GREEDY)
    )


@pytest.mark.parametrize("temperature", [0.7, 2.0])
def test_first_tokens_are_as_frequent_as_the_distribution_says(policy, temperature):
    n, prompt = 4000, undecided(policy)
    prompts = small.prompts(prompt).repeat(n)
    first = draw(policy, prompts, numbers(n, 1, seed=3), small.plain(temperature)).responses[:, 0]
    want = reference.softmax([z / temperature for z in next_logits(policy, prompt).tolist()])
    assert sum(p > 0.02 for p in want) >= 3, "a distribution on one token would test nothing"
    share = (first.bincount(minlength=16) / n).tolist()
    for got, p in zip(share, want, strict=True):
        assert abs(got - p) <= 5 * math.sqrt(p * (1 - p) / n)


def test_each_token_is_the_inverse_of_the_distribution_at_its_own_number(policy):
    prompts, uniforms = small.prompts(*PROMPTS), numbers(24)
    for b, response in enumerate(rows_of(draw(policy, prompts, uniforms, small.plain(0.7)))):
        for t, token in enumerate(response):
            logits = next_logits(policy, [*PROMPTS[b], *response[:t]]).tolist()
            assert reference.inverse_cdf(reference.softmax([z / 0.7 for z in logits]), uniforms[b, t].item()) == token


def test_a_row_is_the_same_alone_in_another_order_and_with_other_rows(policy):
    prompts, uniforms = small.prompts(*PROMPTS), numbers(24)
    together = draw(policy, prompts, uniforms)
    want = rows_of(together)
    assert together.ended.any()
    assert len(set(map(len, want))) > 3, "rows must leave the batch at different places"
    for b, prompt in enumerate(PROMPTS):
        assert rows_of(draw(policy, small.prompts(prompt), uniforms[b : b + 1])) == [want[b]]
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    assert rows_of(draw(policy, take(prompts, order), uniforms[order])) == [want[b] for b in order]
    few = torch.tensor([6, 1, 4])
    assert rows_of(draw(policy, take(prompts, few), uniforms[few])) == [want[b] for b in few]


@pytest.mark.parametrize("model", ["policy", "learned_positions"])
def test_a_row_does_not_depend_on_the_amount_of_left_padding_or_on_its_tokens(model, request):
    policy, prompts, uniforms = request.getfixturevalue(model), small.prompts(*PROMPTS), numbers(24)
    wide_tokens = torch.cat([torch.full((24, 6), 9), prompts.tokens.where(prompts.mask, torch.tensor(11))], dim=1)
    wide_mask = torch.cat([torch.zeros(24, 6, dtype=torch.bool), prompts.mask], dim=1)
    wide, want = Prompts(wide_tokens, wide_mask, prompts.rows), rows_of(draw(policy, prompts, uniforms))
    assert len(set(map(len, want))) > 2
    assert rows_of(draw(policy, wide, uniforms)) == want
    assert rows_of(draw(policy, small.prompts(PROMPTS[1]), uniforms[1:2])) == [want[1]]


def test_later_numbers_do_not_change_earlier_tokens(policy):
    prompts, long = small.prompts(*PROMPTS), numbers(24)
    short = rows_of(draw(policy, prompts, long[:, :4]))
    assert [row[:4] for row in rows_of(draw(policy, prompts, long))] == short


def test_the_mask_holds_the_end_token_and_nothing_after_it(policy):
    rollout = draw(policy, small.prompts(*PROMPTS), numbers(24))
    assert 0 < rollout.ended.sum() < 24
    for tokens, mask, ended in zip(
        rollout.responses.tolist(), rollout.mask.tolist(), rollout.ended.tolist(), strict=True
    ):
        length = tokens.index(small.END) + 1 if small.END in tokens else len(tokens)
        assert ended == (small.END in tokens)
        assert mask == [True] * length + [False] * (len(tokens) - length)
        assert tokens[length:] == [0] * (len(tokens) - length)
    assert torch.equal(rollout.attention, torch.cat([rollout.prompts.mask, rollout.mask], dim=1))


def test_responses_stop_after_the_first_stop_token_as_in_the_published_case():
    # torchtune tests/torchtune/rlhf/test_sequence_processing.py; its mask is True on padding, ours on tokens
    said = [[869, 30, 869], [2, 30, 869], [869, 30, 2], [50, 30, 869], [13, 30, 2], [13, 30, 5], [13, 2, 20],
            [13, 2, 2], [2, 2, 2]]  # fmt: skip
    want = [[869, 0, 0], [2, 0, 0], [869, 0, 0], [50, 30, 869], [13, 30, 2], [13, 30, 5], [13, 2, 0], [13, 2, 0],
            [2, 0, 0]]  # fmt: skip
    padding = [[0, 1, 1], [0, 1, 1], [0, 1, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 1, 1]]
    d = Distribution(1.0, 0, 1.0, 0, (2, 869))
    rollout = draw(Policy(Script(said, 870)), small.prompts(*[[5]] * 9), numbers(9, 3), d)
    assert rollout.responses.tolist() == want
    assert (~rollout.mask).long().tolist() == padding
    assert rollout.ended.tolist() == [True, True, True, True, True, False, True, True, True]


def test_the_batch_is_only_as_wide_as_its_longest_response():
    rollout = draw(Policy(Script([[7, 2, 0, 0], [2, 0, 0, 0]], 9)), small.prompts([5], [6]), numbers(2, 4))
    assert rollout.responses.tolist() == [[7, 2], [2, 0]]
    assert rollout.attention.shape == (2, 3)


@pytest.mark.parametrize("least", [1, 3, LONGEST])
def test_no_response_ends_before_the_least_length(policy, least):
    prompts = small.prompts(*PROMPTS).repeat(4)
    d = Distribution(2.0, 0, 1.0, least, (small.END, 7))
    rollout = draw(policy, prompts, numbers(96), d)
    shortest = int(rollout.mask.sum(1).min())
    unbound = draw(policy, prompts, numbers(96), Distribution(2.0, 0, 1.0, 0, (small.END, 7)))
    assert int(unbound.mask.sum(1).min()) == 1, "or the least length would change nothing"
    assert shortest == least + 1 if least < LONGEST else shortest == LONGEST


@pytest.mark.parametrize(("k", "p"), [(3, 1.0), (0, 0.6), (5, 0.7)])
def test_no_token_is_drawn_outside_the_filter(policy, k, p):
    n = 2000
    prompt = undecided(policy)
    first = draw(policy, small.prompts(prompt).repeat(n), numbers(n, 1), Distribution(1.5, k, p, 0, (small.END,)))
    scaled = [z / 1.5 for z in next_logits(policy, prompt).tolist()]
    few = reference.restrict(scaled, reference.top_k_set(scaled, k))
    assert 1 < len(reference.top_p_set(few, p)) < 16
    drawn = set(first.responses[:, 0].tolist())
    assert len(drawn) > 1
    assert drawn <= reference.top_p_set(few, p)


def test_logits_that_are_not_finite_stop_with_exit_8_even_when_greedy():
    broken = small.policy()
    broken.lm.lm_head.weight = torch.nn.Parameter(broken.lm.lm_head.weight.detach().clone())
    with torch.no_grad():
        broken.lm.lm_head.weight[11, 0] = float("nan")
    for d in (small.plain(), GREEDY):
        with pytest.raises(Failure, match="not finite while sampling token 0 of response 0") as failure:
            draw(broken, small.prompts([3, 4], [5]), numbers(2), d)
        assert failure.value.code == Exit.NONFINITE == 8


def test_the_sampler_draws_one_row_of_numbers_per_prompt(policy):
    prompts = small.prompts(*PROMPTS)
    collect = sampler(policy, small.plain(1.5), LONGEST, pad=0)
    uniforms = torch.from_numpy(np.random.default_rng(5).random((24, LONGEST)))
    assert rows_of(collect(prompts, np.random.default_rng(5))) == rows_of(draw(policy, prompts, uniforms))


def test_sampling_leaves_no_gradient_behind(policy):
    draw(policy, small.prompts([3, 4]), numbers(1))
    assert all(p.grad is None for p in policy.parameters())
