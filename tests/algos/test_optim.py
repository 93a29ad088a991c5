import json
import math

import pytest
import torch

from rlnlp.algos.baselines import MovingMean, batch_mean, greedy, no_baseline
from rlnlp.algos.optim import backward, descend, forget, inner_matrices, learning_rate, optimizers
from rlnlp.config.algos import Sft
from support import small


def settings(**changes):
    base = {
        "micro_batch_tokens": None,
        "total_steps": 10, "batch_size": 1, "micro_batch_size": 1, "learning_rate": 2.0, "lr_schedule": "constant",
        "warmup_steps": 0, "max_grad_norm": 1.0, "weight_decay": 0.0, "optimizer": "adamw", "name": "sft",
        "loss_temperature": 1.0,
    }  # fmt: skip
    return Sft(**{**base, **changes})


@pytest.mark.parametrize(
    ("schedule", "warmup", "total", "rates"),
    [
        ("constant", 0, 3, [1, 1, 1]),
        ("constant", 3, 5, [1 / 4, 2 / 4, 3 / 4, 1, 1]),
        ("linear", 0, 4, [1, 3 / 4, 2 / 4, 1 / 4]),
        ("linear", 4, 10, [0.2, 0.4, 0.6, 0.8, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("cosine", 0, 4, [1, 0.8535533905932737, 0.5, 0.14644660940672624]),
        ("cosine", 1, 3, [0.5, 1, 0.5]),
        ("linear", 2, 2, [1 / 3, 2 / 3]),
    ],
)
def test_learning_rates_by_hand(schedule, warmup, total, rates):
    c = settings(lr_schedule=schedule, warmup_steps=warmup, total_steps=total)
    assert [learning_rate(c, step) for step in range(1, total + 1)] == pytest.approx([2 * r for r in rates], rel=1e-12)


def weights(*gradients):
    out = [torch.nn.Parameter(torch.tensor([10.0])) for _ in gradients]
    for weight, g in zip(out, gradients, strict=True):
        weight.grad = None if g is None else torch.tensor([g])
    return out


def test_a_long_gradient_is_shortened_to_the_limit_over_all_weights_together():
    pair = weights(3.0, -4.0)
    norm = descend({"sgd": torch.optim.SGD(pair, lr=2.0)}, 1, settings())
    assert norm == pytest.approx(5.0)
    assert [w.item() for w in pair] == pytest.approx([10 - 2 * 0.6, 10 + 2 * 0.8], rel=1e-5)


def test_a_short_gradient_keeps_its_length():
    pair = weights(0.3, -0.4)
    assert descend({"sgd": torch.optim.SGD(pair, lr=2.0)}, 1, settings()) == pytest.approx(0.5)
    assert [w.item() for w in pair] == pytest.approx([10 - 0.6, 10 + 0.8], rel=1e-6)


def test_each_step_has_its_own_rate_and_begins_without_a_gradient():
    (weight,) = weights(0.5)
    optimizer = {"sgd": torch.optim.SGD([weight], lr=2.0)}
    descend(optimizer, 1, settings(warmup_steps=3))
    assert weight.item() == pytest.approx(10 - 0.5 * 0.5)
    assert weight.grad is None
    weight.grad = torch.tensor([0.5])
    descend(optimizer, 4, settings(warmup_steps=3))
    assert weight.item() == pytest.approx(9.75 - 2.0 * 0.5)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
def test_a_gradient_that_is_not_finite_makes_no_step_and_stays_to_be_looked_at(broken):
    module = torch.nn.Linear(2, 2)
    optimizer, before = optimizers(module, settings()), [w.detach().clone() for w in module.parameters()]
    module.weight.grad, module.bias.grad = torch.tensor([[1.0, broken], [1.0, 1.0]]), torch.ones(2)
    assert not math.isfinite(descend(optimizer, 7, settings()))
    assert module.weight.grad.isfinite().tolist() == [[True, False], [True, True]]
    assert all(map(torch.equal, module.parameters(), before))
    assert not optimizer["optimizer"].state, "the moments must not learn of it either"


@pytest.mark.parametrize(("value", "want"), [(1.0, [0.5]), (float("inf"), None), (float("nan"), None)])
def test_a_loss_that_is_not_finite_has_no_finite_gradient(value, want):
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    backward((0.5 * weight).sum() + value)
    assert weight.grad.tolist() == want if want else not weight.grad.isfinite().any()


def test_weight_decay_shrinks_matrices_by_its_share_of_the_rate_and_no_vectors():
    module = torch.nn.Linear(1, 3)
    before = [w.detach().clone() for w in module.parameters()]
    c = settings(learning_rate=0.25, weight_decay=0.5)
    optimizer = optimizers(module, c)
    for w in module.parameters():
        w.grad = torch.zeros_like(w)
    descend(optimizer, 1, c)
    torch.testing.assert_close(module.weight.detach(), before[0] * (1 - 0.25 * 0.5))
    assert torch.equal(module.bias, before[1])


def test_adam_moves_by_the_rate_and_decays_nothing():
    module = torch.nn.Linear(1, 3)
    module.bias.requires_grad_(False)
    before = [w.detach().clone() for w in module.parameters()]
    optimizer = optimizers(module, settings(learning_rate=0.25))
    module.weight.grad = torch.tensor([[0.5], [-0.125], [0.0]])
    descend(optimizer, 1, settings(learning_rate=0.25))
    moved = (module.weight.detach() - before[0]).flatten()
    assert moved.tolist() == pytest.approx([-0.25, 0.25, 0.0], abs=1e-5)
    assert torch.equal(module.bias, before[1])


def test_muon_turns_inner_matrices_by_an_orthogonal_step_and_leaves_tokens_and_vectors_to_adamw():
    policy = small.policy(16, tied=False)
    inner = inner_matrices(policy)
    named = {name for name, p in policy.named_parameters() if any(p is q for q in inner)}
    assert all("proj" in name for name in named)
    assert {name for name, p in policy.named_parameters() if p.ndim == 2} - named == {
        "lm.model.embed_tokens.weight", "lm.lm_head.weight",
    }  # fmt: skip
    c = settings(optimizer="muon", learning_rate=0.5)
    both, before = optimizers(policy, c), [p.detach().clone() for p in inner]
    assert set(both) == {"optimizer", "muon"}
    generator = torch.Generator().manual_seed(0)
    for p in policy.parameters():
        p.grad = torch.randn(p.shape, generator=generator)
    descend(both, 1, c)
    for p, old in zip(inner, before, strict=True):
        size = torch.linalg.svdvals(p.detach() - old) / (0.5 * max(1, p.shape[0] / p.shape[1]) ** 0.5)
        assert float(size.median()) > 0.6, "most directions move alike, whatever the gradient's sizes"
        assert float(size.max()) < 1.5


def walk(policy, both, c, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        for p in policy.parameters():
            p.grad = torch.randn(p.shape, generator=generator)
        descend(both, step, c)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_optimizers_that_forget_step_as_new_ones_from_the_same_weights_to_the_last_bit(kind):
    c = settings(optimizer=kind, learning_rate=0.1, weight_decay=0.1, warmup_steps=2)
    used, fresh = small.policy(16, tied=False), small.policy(16, tied=False)
    both = optimizers(used, c)
    walk(used, both, c, 3, seed=0)
    fresh.load_state_dict(used.state_dict())
    new = optimizers(fresh, c)
    forget(both)
    assert all(not optimizer.state for optimizer in both.values())
    walk(used, both, c, 3, seed=1)
    walk(fresh, new, c, 3, seed=1)
    assert all(map(torch.equal, used.parameters(), fresh.parameters()))
    for name, optimizer in new.items():
        assert optimizer.state_dict()["state"].keys() == both[name].state_dict()["state"].keys()
        for i, values in optimizer.state_dict()["state"].items():
            assert all(torch.equal(v, both[name].state_dict()["state"][i][k]) for k, v in values.items())


def test_the_moving_mean_is_of_past_batches_and_freed_of_its_start():
    mean = MovingMean(0.5)
    seen = [mean(None, torch.tensor(r)).tolist() for r in ([3.0, 5.0], [1.0, 1.0], [7.0, 9.0], [0.0, 0.0])]
    # weights 1/2, 1/4, 1/8 of the batches from the newest back, over their sum: (1 + 4/2) / 1.5, (8 + 1/2 + 4/4) / 1.75
    assert seen == [[0.0, 0.0], [4.0, 4.0], [2.0, 2.0], pytest.approx([9.5 / 1.75] * 2)]


def test_the_moving_mean_goes_on_from_its_saved_state_as_if_nothing_had_happened():
    mean, again = MovingMean(0.9), MovingMean(0.9)
    for r in (1.5, -2.25, 0.7):
        mean(None, torch.tensor([r]))
    again.load_state_dict(json.loads(json.dumps(mean.state_dict())))
    for r in (3.0, 0.1, 8.0):
        assert torch.equal(again(None, torch.tensor([r])), mean(None, torch.tensor([r])))


def test_the_simple_baselines_by_hand():
    returns = torch.tensor([1.0, 2.0, 6.0])
    assert no_baseline(None, returns).tolist() == [0.0, 0.0, 0.0]
    assert batch_mean(None, returns).tolist() == [3.0, 3.0, 3.0]


def test_the_greedy_baseline_asks_once_per_prompt_and_gives_each_sample_its_prompt_s_value():
    asked = []

    def collect(prompts, rng):
        asked.append(prompts.tokens.tolist())
        return prompts

    baseline = greedy(collect, lambda prompts: 10.0 * prompts.rows, 3)
    got = baseline(small.prompts([4], [5]).repeat(3), torch.zeros(6))
    assert asked == [[[4], [5]]]
    assert got.tolist() == [0.0, 0.0, 0.0, 10.0, 10.0, 10.0]
