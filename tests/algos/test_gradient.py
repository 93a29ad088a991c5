"""The expected gradient, exactly: every response of at most two tokens, and every group of them, by its probability."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlnlp.algos import reinforce
from rlnlp.algos.baselines import MovingMean, batch_mean, greedy, group_leave_one_out, no_baseline
from rlnlp.algos.optim import optimizers
from rlnlp.algos.ptx import without_texts
from rlnlp.config.algos import Reinforce
from rlnlp.maths.advantages import divide_by_group_std
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.kl import k1
from rlnlp.maths.rewards import on_last_token, penalized_rewards
from rlnlp.models.fast import FirstPass
from rlnlp.models.policy import Policy, logprob_fn
from rlnlp.rollout.sampling import sampler
from rlnlp.types import Experience, PolicyOutput, Rollout, Scores
from support import reference, small

D = torch.float64
END, VOCABULARY, COEF = small.END, 4, 0.3
PROMPTS = ([1, 3, 1], [3])
RESPONSES = [[END], *([a, b] for a in (0, 1, 3) for b in range(VOCABULARY))]
KEYS = list(itertools.product(range(len(PROMPTS)), map(tuple, RESPONSES)))
SCORES = torch.randn(len(KEYS), generator=torch.Generator().manual_seed(0), dtype=D)
WORTH = dict(zip(KEYS, SCORES.tolist(), strict=True))
DRAWN = [small.plain(0.7, END), Distribution(1.0, 0, 1.0, 1, (END,))]


def tiny(seed):
    lm = small.lm(VOCABULARY, width=8, layers=1, seed=seed).double()
    # The eager attention takes its softmax in float32, where float64's smallest number is -inf: NaN on the padding.
    lm.set_attn_implementation("sdpa")
    return Policy(lm)


@pytest.fixture(scope="module")
def policy():
    return tiny(0)


@pytest.fixture(scope="module")
def other():
    return tiny(1)


@pytest.fixture(params=DRAWN, ids=["temperature", "least-length"])
def distribution(request):
    return request.param


def settings(**changes):
    base = Reinforce(
        micro_batch_tokens=None,
        total_steps=1, batch_size=len(PROMPTS), micro_batch_size=4096, learning_rate=1.0, lr_schedule="constant",
        warmup_steps=0, max_grad_norm=1e9, weight_decay=0.0, optimizer="adamw", name="reinforce",
        num_generations=2, baseline="none", ema_decay=0.9, missing_eos_penalty=0.0,
        normalize_advantages="none", kl_coef=COEF, entropy_coef=0.0, loss_reduction="sequences",
    )  # fmt: skip
    return replace(base, **changes)


def rollout_of(rows):
    """One rollout of (prompt, response) pairs, padded on both sides."""
    prompts = small.prompts(*(PROMPTS[p] for p, _ in rows))
    prompts = replace(prompts, rows=torch.tensor([p for p, _ in rows]))
    responses = torch.tensor([[*y, 0, 0][:2] for _, y in rows])
    mask = torch.tensor([[True, len(y) > 1] for _, y in rows])
    ended = torch.tensor([END in y for _, y in rows])
    return Rollout(prompts, responses, mask, torch.cat([prompts.mask, mask], dim=1), ended)


def rewards(rollout):
    chosen = zip(rollout.prompts.rows.tolist(), rollout.responses, rollout.mask, strict=True)
    scores = torch.tensor([WORTH[p, tuple(y[m].tolist())] for p, y, m in chosen], dtype=D)
    return Scores(on_last_token(scores, rollout.mask), {"table": scores})


def log_probability(policy, p, y, d):
    """Of a whole response: one sequence, no padding, the model's own logits."""
    logits = policy.lm(torch.tensor([[*PROMPTS[p], *y]])).logits[0] / d.temperature
    total = 0
    for t, token in enumerate(y):
        row = logits[len(PROMPTS[p]) - 1 + t]
        if t < d.min_new_tokens:
            row = torch.cat([row[:END], row.new_tensor([-math.inf]), row[END + 1 :]])
        total = total + row.log_softmax(-1)[token]
    return total


def experience(rollout, advantages):
    """A rollout with the advantage of each response."""
    shaped = advantages.unsqueeze(1).expand(rollout.mask.shape)
    return Experience(rollout, torch.zeros(rollout.mask.shape, dtype=D), shaped)


def accumulate(policy, d, learned, algo):
    """As the loop does it, without a forward pass to learn from."""
    none = FirstPass(PolicyOutput(learned.old_logprobs, learned.old_logprobs))
    return reinforce.accumulate(policy, d, learned, none, algo)


def gradient(policy):
    return torch.cat([w.grad.flatten() for w in policy.parameters()])


def exact(policy, other, d, coef):
    """The gradient of E[r] - coef KL(policy || other), summed over all responses, mean over the prompts."""
    objective = torch.zeros((), dtype=D)
    for p, y in WORTH:
        if d.min_new_tokens and y[0] == END:
            continue
        log_pi = log_probability(policy, p, y, d)
        log_ref = log_probability(other, p, y, d).detach()
        objective = objective + log_pi.exp() * (WORTH[p, y] - coef * (log_pi - log_ref)) / len(PROMPTS)
    policy.zero_grad()
    objective.backward()
    return gradient(policy)


def returns_of(policy, other, rollout, d, coef):
    kl = k1(logprob_fn(policy, d, 4096)(rollout), logprob_fn(other, d, 4096)(rollout))
    return penalized_rewards(rewards(rollout).rewards, kl, rollout.mask, coef).sum(1)


def expected(policy, other, d, group, baseline, normalize=False, coef=COEF):
    """The expectation of the negated gradient that ``accumulate`` leaves, over all groups of responses."""
    groups = list(itertools.product(range(len(PROMPTS)), itertools.product(RESPONSES, repeat=group)))
    rollout = rollout_of([(p, y) for p, ys in groups for y in ys])
    with torch.no_grad():
        log_pi = {(p, y): float(log_probability(policy, p, y, d)) for p, y in WORTH}
    chance = [math.exp(math.fsum(log_pi[p, tuple(y)] for y in ys)) for p, ys in groups]
    assert math.fsum(chance) == pytest.approx(len(PROMPTS)), "all groups of each prompt"
    returns = returns_of(policy, other, rollout, d, coef).double()
    advantages = returns - baseline(rollout.prompts, returns)
    if normalize:
        advantages = divide_by_group_std(advantages, returns, group)
    # A weighted advantage makes the mean over the sequences the expectation: the loss is linear in it.
    weights = torch.tensor(chance, dtype=D).repeat_interleave(group) * len(groups) / len(PROMPTS)
    policy.zero_grad()
    accumulate(policy, d, experience(rollout, advantages * weights), settings(num_generations=group))
    return -gradient(policy)


def unlike(got, want):
    return float((got - want).norm() / want.norm())


def baselines(policy, other, d, group):
    past = MovingMean(0.9)
    past(None, torch.tensor([2.0, 5.0]))

    def worth(rollout):
        return returns_of(policy, other, rollout, d, COEF)

    return {
        "none": no_baseline,
        "ema": past,
        "leave-one-out": group_leave_one_out(group),
        "greedy": greedy(sampler(policy, replace(d, top_k=1), 2, pad=0), worth, group),
    }


@pytest.mark.parametrize("name", ["none", "ema", "leave-one-out", "greedy"])
def test_the_expected_gradient_is_that_of_the_objective_whatever_the_baseline(policy, other, distribution, name):
    baseline = baselines(policy, other, distribution, 2)[name]
    want = exact(policy, other, distribution, COEF)
    assert unlike(want, exact(policy, other, distribution, 0.0)) > 0.1, "the penalty must matter"
    assert unlike(expected(policy, other, distribution, 2, baseline), want) < 1e-5


def test_the_expected_gradient_is_exact_with_leave_one_out_among_three(policy, other):
    want = exact(policy, other, DRAWN[0], COEF)
    assert unlike(expected(policy, other, DRAWN[0], 3, group_leave_one_out(3)), want) < 1e-5


@pytest.mark.parametrize("group", [2, 3])
def test_a_batch_mean_that_includes_the_response_shrinks_the_gradient_to_n_minus_1_over_n(policy, other, group):
    def of_each_group(prompts, returns):
        return torch.cat([batch_mean(prompts, r) for r in returns.split(group)])

    want = exact(policy, other, DRAWN[0], COEF) * (group - 1) / group
    assert unlike(expected(policy, other, DRAWN[0], group, of_each_group), want) < 1e-5


@pytest.mark.parametrize("group", [2, 3])
def test_dividing_by_the_group_s_deviation_biases_the_gradient_but_does_not_turn_it_round(policy, other, group):
    want = exact(policy, other, DRAWN[0], COEF)
    got = expected(policy, other, DRAWN[0], group, group_leave_one_out(group), normalize=True)
    cosine = float(got @ want / got.norm() / want.norm())
    scaled = unlike(got * float(got @ want / (got @ got)), want)
    print(f"groups of {group}: relative bias {unlike(got, want):.3f}, {scaled:.3f} at best scale, cosine {cosine:.4f}")
    assert unlike(got, want) > 0.05
    assert scaled > 0.01, "the direction is biased too, not the length alone"
    assert cosine > 0


def fixed_batch():
    rollout = rollout_of([(0, [1, 3]), (0, [END]), (1, [3, END]), (1, [0, 0]), (1, [END])])
    assert len(set(rollout.mask.sum(1).tolist())) == 2
    return experience(rollout, torch.tensor([0.5, -2.0, 1.0, 3.0, -0.25], dtype=D))


@pytest.mark.parametrize("reduction", ["sequences", "tokens"])
def test_the_tokens_of_a_micro_batch_change_neither_gradient_nor_loss(policy, reduction):
    found, rows = [], []
    count = policy.register_forward_pre_hook(lambda _, given: rows.append(len(given[0].mask)))
    for tokens in (None, 1, 4, 7, 12):
        policy.zero_grad()
        cut = settings(micro_batch_tokens=tokens, entropy_coef=0.2, loss_reduction=reduction)
        figures = accumulate(policy, DRAWN[0], fixed_batch(), cut)
        found.append((gradient(policy), figures))
    count.remove()
    assert rows[:6] == [5, 1, 1, 1, 1, 1], "all together, and each response alone"
    assert (len(rows), sum(rows)) == (17, 25), "1, 5, 5, 4 and 2 parts"
    for got, figures in found[1:]:
        assert unlike(got, found[0][0]) < 1e-6
        assert figures == pytest.approx(found[0][1], rel=1e-6)


@pytest.mark.parametrize("reduction", ["sequences", "tokens"])
def test_the_micro_batch_size_changes_neither_gradient_nor_loss(policy, reduction):
    found = []
    for size in (5, 1, 2, 3):
        policy.zero_grad()
        figures = accumulate(
            policy, DRAWN[0], fixed_batch(), settings(micro_batch_size=size, entropy_coef=0.2, loss_reduction=reduction)
        )
        found.append((gradient(policy), figures))
    for got, figures in found[1:]:
        assert unlike(got, found[0][0]) < 1e-6
        assert figures == pytest.approx(found[0][1], rel=1e-6)


def test_the_loss_is_the_policy_gradient_loss_of_the_paper_per_sequence_or_per_token(policy):
    batch, gradients = fixed_batch(), {}
    logprobs = logprob_fn(policy, DRAWN[0], 8)(batch.rollout).tolist()
    for reduction, total in (("sequences", 5), ("tokens", 8)):
        policy.zero_grad()
        loss, _ = accumulate(policy, DRAWN[0], batch, settings(loss_reduction=reduction))
        gradients[reduction] = gradient(policy) * total
        rows = batch.rollout.mask.tolist()
        want = reference.policy_gradient_loss(logprobs, batch.advantages[:, 0].tolist(), rows, total)
        assert loss == pytest.approx(want, rel=1e-6)
    assert unlike(gradients["tokens"], gradients["sequences"]) < 1e-6


@pytest.mark.parametrize(("reduction", "total"), [("sequences", 5), ("tokens", 8)])
def test_the_entropy_bonus_has_the_gradient_of_the_enumerated_entropies(policy, reduction, total):
    batch, d = fixed_batch(), DRAWN[0]
    bonus = torch.zeros((), dtype=D)
    for p, y in zip(batch.rollout.prompts.rows.tolist(), batch.rollout.responses.tolist(), strict=True):
        y = y[:1] if y[0] == END else y
        for t in range(len(y)):
            states = [log_probability(policy, p, [*y[:t], a], d) for a in range(VOCABULARY)]
            before = log_probability(policy, p, y[:t], d)
            bonus = bonus - sum((s - before).exp() * (s - before) for s in states)
    policy.zero_grad()
    (0.2 * bonus / total).backward()
    want = gradient(policy)
    policy.zero_grad()
    silent = replace(batch, advantages=torch.zeros_like(batch.advantages))
    loss, per_token = accumulate(policy, d, silent, settings(entropy_coef=0.2, loss_reduction=reduction))
    assert unlike(-gradient(policy), want) < 1e-5
    assert loss == pytest.approx(-0.2 * bonus.item() / total, rel=1e-5)
    assert per_token == pytest.approx(bonus.item() / 8, rel=1e-5)


class Desk:
    """What ``train`` needs of a run: numbers, steps, and somewhere to write."""

    def __init__(self):
        self.rows = []

    def steps(self, total, parts):
        yield from range(1, total + 1)

    def rng(self, name, step):
        return np.random.default_rng([len(name), step])

    def log(self, step, **figures):
        self.rows.append(figures)


@pytest.mark.parametrize("normalize", [False, True])
def test_a_training_step_leaves_the_gradient_of_the_slow_reference(policy, other, monkeypatch, normalize):
    d, c, left, seen, desk = (
        DRAWN[0],
        settings(num_generations=16, normalize_advantages="group" if normalize else "none", missing_eos_penalty=0.4),
        [],
        [],
        Desk(),
    )

    def descend(optimizer, step, c):
        left.append(gradient(policy))
        return 0.0

    def collect(prompts, rng):
        seen.append(sampler(policy, d, 2, pad=0)(prompts, rng))
        return seen[-1]

    monkeypatch.setattr(reinforce, "descend", descend)
    policy.zero_grad()
    prompts = replace(small.prompts(*PROMPTS), rows=torch.arange(2))
    baseline = group_leave_one_out(16)
    reinforce.train(
        policy, optimizers(policy, c), d, lambda step: prompts, collect, rewards, logprob_fn(other, d, 8), baseline,
        lambda *seen: seen[-1], without_texts, c, desk,
    )  # fmt: skip

    (rollout,) = seen
    assert rollout.prompts.rows.tolist() == [0] * 16 + [1] * 16
    chosen = [tuple(y[m].tolist()) for y, m in zip(rollout.responses, rollout.mask, strict=True)]
    assert len(set(chosen)) > 4
    assert len(set(map(len, chosen))) == 2
    rows = list(zip(rollout.prompts.rows.tolist(), chosen, strict=True))
    ratio = [(log_probability(policy, p, y, d) - log_probability(other, p, y, d)).item() for p, y in rows]
    cost = [0.0 if END in y else 0.4 for y in chosen]
    assert 0 < sum(cost) < 0.4 * 32
    returns = [WORTH[row] - fine - COEF * r for row, fine, r in zip(rows, cost, ratio, strict=True)]
    advantages = [r - b for r, b in zip(returns, reference.leave_one_out(returns, 16), strict=True)]
    if normalize:  # less the mean of the others is 16 / 15 of less the mean of all
        advantages = [16 / 15 * a for a in reference.group_normalized(returns, 16)]
    policy.zero_grad()
    loss = -sum(a * log_probability(policy, *row, d) for a, row in zip(advantages, rows, strict=True)) / 32
    loss.backward()
    assert unlike(left[0], gradient(policy)) < 1e-5

    assert desk.rows[0]["policy_loss"] == pytest.approx(loss.item(), rel=1e-5, abs=1e-6)
    assert (desk.rows[0]["episodes"], desk.rows[0]["tokens"]) == (32, sum(map(len, chosen)))
    assert desk.rows[0]["kl"] == pytest.approx(sum(ratio) / 32, rel=1e-5, abs=1e-6)
    assert desk.rows[0]["score"] == pytest.approx(sum(WORTH[row] for row in rows) / 32, rel=1e-6)
