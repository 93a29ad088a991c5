"""Every update of PPO leaves the gradient of the slow reference, whatever the cut into micro-batches."""

from dataclasses import replace
from itertools import chain

import pytest
import torch

from rlnlp.algos import ppo
from support import reference, slow_ppo, small

RICH = {  # everything at once
    "loss_reduction": "sequences", "kl_estimator": "k2", "whiten_rewards": True, "gamma": 0.9, "lam": 0.8,
    "missing_eos_penalty": 0.7, "entropy_coef": 0.05, "cliprange": 0.05, "cliprange_high": 0.15, "cliprange_value": 0.1,
    "vf_coef": 0.6, "mini_batch_size": 4, "kl_target": 0.5, "kl_horizon": 40,
}  # fmt: skip
PLAIN = {"cliprange": 0.1, "cliprange_high": 0.1}


def gradients(module):
    """All gradients as one vector; zeros where there is none."""
    return torch.cat([(torch.zeros_like(w) if w.grad is None else w.grad).flatten() for w in module.parameters()])


class Watch:
    """Stands in for ``ppo.accumulate_gradient``: lets it work and compares what it leaves with the slow reference."""

    def __init__(self, play):
        self.play, self.real, self.known, self.figures, self.unlike = play, ppo.accumulate_gradient, 0, [], []

    def __call__(self, parts, loss_fn, mask, reduction):
        play, modules, parts = self.play, [self.play.policy, self.play.critic], list(parts)
        for module in modules:
            assert not gradients(module).any(), "an update begins without a gradient"
        loss, found = self.real(parts, loss_fn, mask, reduction)
        fast = torch.cat([gradients(module) for module in modules])
        kept = [[w.grad for w in module.parameters()] for module in modules]
        if len(play.rollouts) > self.known:
            self.known = len(play.rollouts)
            with torch.no_grad():
                self.memory = slow_ppo.remember(play, play.rollouts[-1], play.control.coef)
        c, rollouts = play.c, [part.rollout for part in parts]
        policy_loss, value_loss, figures = slow_ppo.losses(play, rollouts, self.memory)
        if c.critic == "shared":
            slow_loss = policy_loss + c.vf_coef * value_loss
        else:
            slow_loss = policy_loss if "policy_loss" in found else value_loss
        for module in modules:
            module.zero_grad()
        slow_loss.backward()
        slow = torch.cat([gradients(module) for module in modules])
        for module, old in zip(modules, kept, strict=True):
            for weight, gradient in zip(module.parameters(), old, strict=True):
                weight.grad = gradient
        self.unlike.append(float((fast - slow).norm() / slow.norm()))
        assert found == pytest.approx({name: figures[name] for name in found}, rel=1e-5, abs=1e-7)
        assert loss == pytest.approx(slow_loss.item(), rel=1e-5, abs=1e-7)
        self.figures.append(found)
        return loss, found


@pytest.mark.parametrize(("micro_batch_size", "tokens"), [(1, None), (3, None), (64, None), (64, 14)])
@pytest.mark.parametrize("critic", ["shared", "separate"])
@pytest.mark.parametrize("rich", [False, True], ids=["plain", "rich"])
def test_every_update_leaves_the_gradient_of_the_slow_reference(rich, critic, micro_batch_size, tokens, monkeypatch):
    c = slow_ppo.settings(
        critic=critic, micro_batch_size=micro_batch_size, learning_rate=2e-2, critic_learning_rate=5e-2, ppo_epochs=3,
        total_steps=2, micro_batch_tokens=tokens, **(RICH if rich else PLAIN),
    )  # fmt: skip
    drawn = small.plain(0.7) if rich else small.plain()
    play = slow_ppo.Play(c, drawn, holes=rich, reference=slow_ppo.policy(1)).wake()
    watch = Watch(play)
    monkeypatch.setattr(ppo, "accumulate_gradient", watch)
    play.train()
    updates = 2 * 3 * (2 if rich else 1) * (1 if critic == "shared" else 2)
    assert len(watch.unlike) == updates
    assert max(watch.unlike) < 1e-6
    assert len({len(tokens) for tokens, _ in slow_ppo.sequences(play.rollouts[0])}) > 2, (
        "ragged rows, or little is tested"
    )
    assert rich == any((row.attention[:, -row.mask.shape[1] :] & ~row.mask).any() for row in play.rollouts)
    for clipped in ("clip_fraction", "value_clip_fraction"):
        assert any(0 < figures.get(clipped, 0) < 1 for figures in watch.figures), "the clip must decide somewhere"


def test_the_figures_of_a_step_are_the_means_over_its_updates(monkeypatch):
    c = slow_ppo.settings(learning_rate=2e-2, ppo_epochs=3, mini_batch_size=2, critic="shared")
    play = slow_ppo.Play(c, reference=slow_ppo.policy(1)).wake()
    watch = Watch(play)
    monkeypatch.setattr(ppo, "accumulate_gradient", watch)
    (row,) = play.train()
    assert row["updates"] == len(watch.figures) == 12
    for name in watch.figures[0]:
        assert row[name] == pytest.approx(sum(f[name] for f in watch.figures) / 12, rel=1e-9)
    with torch.no_grad():
        fresh = slow_ppo.Play(c, reference=slow_ppo.policy(1)).wake()
        memory = slow_ppo.remember(fresh, play.rollouts[0], c.kl_coef)
    rows = [memory[tokens] for tokens, _ in slow_ppo.sequences(play.rollouts[0])]
    values, returns = ([[*chain.from_iterable(x)]] for x in ([r.values for r in rows], [r.returns for r in rows]))
    mask = [[True] * len(values[0])]
    want = reference.explained_variance(values, returns, mask)
    assert row["explained_variance"] == pytest.approx(want, rel=1e-6)
    assert (row["episodes"], row["tokens"]) == (8, sum(len(r.values) for r in rows))


@pytest.mark.parametrize("critic", ["shared", "separate"])
def test_the_first_update_is_at_the_policy_that_was_drawn_from(critic):
    c = slow_ppo.settings(ppo_epochs=1, critic=critic)
    for drawn in (small.plain(), small.plain(0.6), replace(small.plain(), top_k=3), replace(small.plain(), top_p=0.7)):
        (row,) = slow_ppo.Play(c, drawn).wake().train()
        assert row["ratio"] == pytest.approx(1, abs=1e-9)
        assert row["approx_kl"] == pytest.approx(0, abs=1e-15)
        assert row["clip_fraction"] == 0
        assert ("sampling_mismatch" in row) == drawn.filtered
        if drawn.filtered:
            assert row["sampling_mismatch"] > 0.05, "what a filter leaves is likelier than it was"
