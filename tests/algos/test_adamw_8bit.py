"""AdamW with moments of 8 bits against AdamW, and through a checkpoint."""

from importlib.util import find_spec

import pytest
import torch
from omegaconf import OmegaConf

from rlnlp.algos.optim import descend, optimizers, state_bytes
from rlnlp.commands import preflight
from rlnlp.config.algos import Sft
from rlnlp.config.parse import parse
from rlnlp.errors import Exit, Failure
from rlnlp.run import checkpoint
from rlnlp.run.parts import StepSnapshot, tensor_files
from support import small

needs_it = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: pip install 'rlnlp[bitsandbytes]'"
)
RATE = 1e-2


def settings(**changes):
    """conf/algo_sft.yaml with changes, at a constant rate."""
    composed = OmegaConf.to_container(OmegaConf.load(small.ROOT / "conf" / "algo_sft.yaml"))
    return parse(Sft, {**composed, "learning_rate": RATE, "lr_schedule": "constant", **changes})


def trained(kind, steps, policy=None, seed=0, parts=None):
    """A policy after ``steps`` of noise with a direction, and its optimizers."""
    policy = policy or small.policy(64, width=64)
    c = settings(optimizer=kind)
    made = parts or optimizers(policy, c)
    generator = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        for p in policy.parameters():
            p.grad = torch.randn(p.shape, generator=generator) + 1
        descend(made, step, c)
    return policy, made


def change(policy):
    """The change of all weights."""
    start = small.policy(64, width=64).parameters()
    return torch.cat([(p - q).detach().flatten() for p, q in zip(policy.parameters(), start, strict=True)])


@needs_it
def test_its_steps_are_those_of_adamw_but_for_the_rounding_of_the_moments():
    exact, rounded = change(trained("adamw", 10)[0]), change(trained("adamw-8bit", 10)[0])
    assert not torch.equal(exact, rounded)
    assert float((exact - rounded).norm() / exact.norm()) < 0.05


@needs_it
def test_a_checkpoint_holds_a_quarter_of_the_moments_and_goes_on_from_them(tmp_path):
    policy, made = trained("adamw-8bit", 3)
    held = sum(t.nbytes for tensors in tensor_files(made).values() for t in tensors.values())
    assert held == pytest.approx(state_bytes(policy, settings(optimizer="adamw-8bit")), rel=0.01)
    assert held < 0.3 * state_bytes(policy, settings())
    checkpoint.save(tmp_path, 3, {"policy": policy, **made}, {})

    again = small.policy(64, width=64)
    parts = optimizers(again, settings(optimizer="adamw-8bit"))
    checkpoint.load(tmp_path, {"policy": again, **parts}, print)
    trained("adamw-8bit", 2, policy, seed=1, parts=made)
    trained("adamw-8bit", 2, again, seed=1, parts=parts)
    assert all(map(torch.equal, policy.parameters(), again.parameters()))


@needs_it
def test_a_step_is_seen_by_what_rolls_back():
    policy, made = trained("adamw-8bit", 1)
    before = StepSnapshot(made)
    assert before.rollback()
    trained("adamw-8bit", 1, policy, parts=made)
    assert not before.rollback()


def test_without_its_package_nothing_begins(monkeypatch):
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    asked = {"algo": settings(optimizer="adamw-8bit")}
    (failure,) = preflight.faults(asked)
    assert isinstance(failure, Failure)
    assert failure.code == Exit.CONFIG
    assert str(failure).startswith("algo.optimizer=adamw-8bit needs bitsandbytes\n")
    assert not list(preflight.faults({"algo": settings()}))
