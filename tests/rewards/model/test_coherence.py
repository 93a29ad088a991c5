"""The reward ``coherence``: under the initial policy, and under another model with another tokenizer."""

import math

import numpy as np
import pytest
import torch

from rlnlp import build
from rlnlp.config.reward import Reward, RewardTerm
from rlnlp.models.load import load_policy, load_tokenizer
from rlnlp.models.policy import logprob_fn
from rlnlp.rewards.model.coherence import coherence, retokenize
from rlnlp.rollout.sampling import sampler
from rlnlp.types import Rollout
from support import small
from support.rewards import fails, make_texts, rollout_of, term_values


def sampled(policy: object, rows: int = 5, longest: int = 6) -> Rollout:
    prompts = small.prompts(*[[1, 3 + i, *range(4, 4 + i)] for i in range(rows)])
    return sampler(policy, small.plain(), longest, 0)(prompts, np.random.default_rng(0))


def test_coherence_is_1_minus_the_mean_surprise_in_units_of_a_uniform_draw():
    policy = small.policy(16)
    rollout = sampled(policy)
    slow = []
    for row in range(len(rollout.responses)):
        real = rollout.tokens[row][rollout.attention[row]]
        start = int(rollout.prompts.mask[row].sum())
        with torch.no_grad():
            logits = policy.lm(input_ids=real.view(1, -1)).logits[0].double()
        nats = [float(logits[i - 1].logsumexp(0) - logits[i - 1, real[i]]) for i in range(start, len(real))]
        slow.append(max(0.0, 1 - sum(nats) / len(nats) / math.log(16)))
    assert len({int(mask.sum()) for mask in rollout.mask}) > 1, "the responses should differ in length"
    fast = coherence(logprob_fn(policy, small.plain(), 2), 16)(rollout)
    assert fast.tolist() == pytest.approx(slow, abs=1e-5)


def test_coherence_is_within_0_and_1_and_higher_for_the_likelier_response():
    policy = small.policy(16, spread=1.0)
    term = coherence(logprob_fn(policy, small.plain(), 8), 16)
    prompts = small.prompts([1, 5])
    values = []
    for token in range(16):
        responses, mask = torch.tensor([[token]]), torch.ones(1, 1, dtype=torch.bool)
        rollout = Rollout(
            prompts, responses, mask, torch.cat([prompts.mask, mask], 1), torch.tensor([token == small.END])
        )
        values.append(float(term(rollout)))
    with torch.no_grad():
        logits = policy.lm(input_ids=prompts.tokens).logits[0, -1]
    assert all(0 <= value <= 1 for value in values)
    assert min(values) == 0
    assert max(values) == values[int(logits.argmax())]
    kept = [i for i in logits.argsort().tolist() if values[i] > 0]
    assert [values[i] for i in kept] == sorted(values[i] for i in kept)


def test_coherence_under_a_uniform_model_is_0():
    rollout = rollout_of([[5, 6], [7]])
    uniform = coherence(lambda r: -math.log(50) * r.mask.float(), 50)
    assert uniform(rollout).tolist() == pytest.approx([0, 0], abs=1e-6)


def test_coherence_by_a_path_is_that_of_the_initial_policy_if_both_have_the_same_tokens(model_dir):
    tokenizer, policy = load_tokenizer(str(model_dir), True), load_policy(str(model_dir), True, build.CPU)[0]
    rows, ended = [], [False, True, False, True]
    for count in (6, 3, 1, 0):
        ids = [1, 4]  # <s> the
        for _ in range(count):
            with torch.no_grad():
                ids.append(4 + int(policy.lm(torch.tensor([ids])).logits[0, -1, 4:].argmax()))
        rows.append(ids[2:])
    rollout = rollout_of([row + [2] * end for row, end in zip(rows, ended, strict=True)], ended)
    rows_of_tokens = zip(rollout.responses, rollout.mask, strict=True)
    completions = [tokenizer.decode(row[keep].tolist()) for row, keep in rows_of_tokens]
    texts = make_texts(*[f" {text}" if text else "" for text in completions], prompt="the")
    likely = coherence(logprob_fn(policy, small.plain(), 2), len(tokenizer.raw))
    reward = Reward({"c": RewardTerm("coherence", 1.0, {"path": str(model_dir), "batch_size": 3})})
    terms, _ = build.reward_terms(reward, lambda _: texts, None)
    torch.testing.assert_close(terms["c"][0](rollout), likely(rollout), atol=1e-5, rtol=0)
    assert len({round(v, 3) for v in likely(rollout).tolist()}) > 2


def test_texts_are_tokenized_again_with_their_end_and_cut_to_the_models_length(model_dir):
    tokenizer = load_tokenizer(str(model_dir), True)
    texts = make_texts(" good film", "", " good" * 9, prompt="the food is")
    again = retokenize(rollout_of([[5]] * 3, [False] * 3), texts, tokenizer, 6)
    kept = [(p[m].tolist(), r[n].tolist()) for p, m, r, n in
            zip(again.prompts.tokens, again.prompts.mask, again.responses, again.mask, strict=True)]  # fmt: skip
    the, food, is_, good, film = (tokenizer.encode(w)[-1] for w in ("the", "food", "is", "good", "film"))
    assert kept == [([1, the, food, is_], [good, film]), ([1, the, food, is_], [2]), ([is_], [good] * 5)]
    ended = retokenize(rollout_of([[5]] * 3), texts, tokenizer, 60)
    assert [row[mask].tolist()[-1] for row, mask in zip(ended.responses, ended.mask, strict=True)] == [2, 2, 2]


def test_coherence_by_a_path_that_is_not_there_is_exit_4():
    for path, message in (
        ("./none", r"reward\.terms\.c\.args\.path './none' not found"),
        ("no-such/model-at-all", r"set reward\.terms\.c\.args\.allow_download=true"),
    ):
        fails(4, message, term_values, {"c": {"path": path}}, (), None, "coherence")
