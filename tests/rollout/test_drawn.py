"""The probabilities that tokens were drawn with, against the whole text read anew for each token."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlnlp.maths.distribution import Distribution
from rlnlp.rollout.drawn import as_drawn
from rlnlp.rollout.sampling import sampler
from support import small

PROMPTS = ([5, 6, 7], [8], [9, 10])


def drawn(policy, distribution, longest=6):
    """A rollout of 24 rows: some end early, some do not."""
    prompts = small.prompts(*PROMPTS).repeat(8)
    return sampler(policy, distribution, longest, 0)(prompts, np.random.default_rng(3))


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_probabilities_and_the_end_s_probability_are_those_of_the_whole_text(cached, temperature):
    policy = small.policy()
    policy.cached = cached
    distribution = Distribution(temperature, 3, 0.9, 2, (small.END,))
    rollout = drawn(policy, distribution)
    assert 0 < int(rollout.ended.sum()) < len(rollout.ended)
    logprobs, ends = as_drawn(policy, rollout, distribution)
    for row in range(len(rollout.mask)):
        text = list(PROMPTS[row // 8])
        for t in range(rollout.mask.shape[1]):
            if not rollout.mask[row, t]:
                assert logprobs[row, t] == ends[row, t] == 0
                continue
            with torch.no_grad():
                logits = policy.lm(torch.tensor([text])).logits[0, -1].double() / temperature
            token = int(rollout.responses[row, t])
            assert float(logprobs[row, t]) == pytest.approx(float(logits.log_softmax(-1)[token]), abs=1e-4)
            assert float(ends[row, t]) == pytest.approx(end_of(logits, t), abs=1e-4)
            text.append(token)


def end_of(logits, t):
    """The end's probability among the three likeliest tokens, and of these those that reach .9, slowly."""
    weights = {i: float(p) for i, p in enumerate(logits.softmax(-1)) if t >= 2 or i != small.END}
    best = sorted(weights, key=lambda i: -weights[i])[:3]
    whole, kept, mass = sum(weights[i] for i in best), [], 0.0
    for i in best:
        if mass / whole < 0.9:
            kept.append(i)
            mass += weights[i]
    return weights[small.END] / mass if small.END in kept else 0.0


def test_several_end_tokens_count_together():
    policy = small.policy()
    one, two = Distribution(1.0, 0, 1.0, 0, (2,)), Distribution(1.0, 0, 1.0, 0, (2, 5))
    rollout = drawn(policy, one)
    first, second = as_drawn(policy, rollout, one)[1], as_drawn(policy, rollout, replace(one, end=(5,)))[1]
    assert torch.allclose(as_drawn(policy, rollout, two)[1], first + second, atol=1e-6)
