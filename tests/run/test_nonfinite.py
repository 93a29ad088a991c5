"""Numbers that are not finite, and memory that runs out: the weights stay as they were, and the way on is told."""

import json
import resource
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from rlnlp.errors import Exit, exit_code, out_of_memory
from rlnlp.run.checksums import name_of
from rlnlp.run.nonfinite import BUDGET
from support import runs
from support.children import Children
from support.small import policy


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("numbers")


@pytest.fixture(scope="module")
def children(root):
    return Children(root)


WEIGHTS = {"reward-model": "reward_model.safetensors"}  # where an algorithm has them in a checkpoint


class Spoiling:
    """The loss, or one gradient, of the given steps becomes ``value``."""

    def __init__(self, algo, what, value, *steps):
        self.algo, self.what, self.value, self.spoiled = algo, what, value, steps

    def __call__(self, directory):
        """Arm it in this process."""
        module = import_module(f"rlnlp.algos.{self.algo.replace('-', '_')}")
        update = import_module(f"rlnlp.algos.{'reward_updates' if self.algo == 'reward-model' else 'update'}")
        backward, descend = update.backward, module.descend
        metrics = directory / "metrics.jsonl"

        def now():
            return metrics.read_text().count("\n") + 1 in self.spoiled

        def spoiled_backward(loss):
            backward(loss + self.value if self.what == "loss" and now() else loss)

        def spoiled_descend(steppers, step, c):
            if self.what == "gradient" and now():
                weights = [p for s in steppers.values() for group in s.param_groups for p in group["params"]]
                weights[1].grad.view(-1)[0] = self.value
            return descend(steppers, step, c)

        update.backward, module.descend = spoiled_backward, spoiled_descend


def asked(algo, root):
    return runs.settings(runs.words(algo, root, "checkpoint.every=2", "checkpoint.keep=2"))


def error_lines(err):
    """The error and the lines that belong to it."""
    lines = err.splitlines()
    begun = max(i for i, line in enumerate(lines) if line.startswith("rlnlp: "))
    return [line for i, line in enumerate(lines[begun:]) if i == 0 or line.startswith("  ")]


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("algo", "what", "value"),
    [
        ("sft", "loss", float("nan")), ("reinforce", "gradient", float("inf")), ("ppo", "gradient", float("nan")),
        ("reward-model", "loss", float("inf")),
    ],
)  # fmt: skip
def test_a_step_with_a_broken_number_is_skipped_and_counted(algo, what, value, root, children):
    directory = root / f"skipped-{algo}"
    ended = children.run(asked(algo, root), directory, Spoiling(algo, what, value, 2, 3, 5))
    assert ended.code == 0, ended.err
    assert [row.get("skipped") for row in rows(directory)] == [None, 1, 2, None, 3, None]
    assert "step 2: " in ended.err
    assert f"not finite (first in {'reward_model.' if algo == 'reward-model' else 'policy.lm.'}" in ended.err
    facts = json.loads((directory / "run.json").read_text())
    assert (facts["status"], facts["skipped"]) == ("done", 3)


@pytest.mark.parametrize("algo", [algo for algo in runs.ALGORITHMS if algo != "rlhf"])  # its loops are others' too
def test_a_skipped_update_leaves_weights_and_moments_as_they_were(algo, root, children):
    directory = root / f"untouched-{algo}"
    settings = runs.settings(runs.words(algo, root, "checkpoint.every=1", "algo.lr_schedule=constant"))
    assert children.run(settings, directory, Spoiling(algo, "gradient", float("nan"), 3)).code == 0
    two, three = (directory / "checkpoints" / name_of(step) for step in (2, 3))
    files = [p.relative_to(two).as_posix() for p in two.rglob("*.safetensors")]
    assert {WEIGHTS.get(algo, "policy/model.safetensors"), "optimizer.safetensors"} <= set(files)
    assert [name for name in files if (two / name).read_bytes() != (three / name).read_bytes()] == []


@pytest.mark.parametrize("algo", ["sft", "reinforce"])
def test_too_many_in_a_row_are_exit_8_with_the_tensor_and_the_last_good_checkpoint(algo, root, children):
    directory, steps = root / f"ended-{algo}", (3, 4, 5, 6)
    ended = children.run(asked(algo, root), directory, Spoiling(algo, "gradient", float("nan"), *steps))
    assert ended.code == 8
    told = error_lines(ended.err)
    assert told[0].startswith("rlnlp: step 5: grad_norm not finite (first in policy.lm.")
    assert f"for {BUDGET} steps in a row now" in told[0]
    assert told[-1].startswith(f"  the last good checkpoint is of step 4; try: rlnlp resume {directory} ")
    again = children.run(asked(algo, root), directory, Spoiling(algo, "gradient", float("nan"), *steps))
    assert again.code == 8, "what came before the checkpoint counts too"
    assert "step 5: " in again.err
    assert children.run(asked(algo, root), directory).code == 0


class Poisoned:
    """After step 3 a weight is not finite."""

    def __call__(self, directory):
        """Arm it in this process."""
        module = sys.modules["rlnlp.algos.reinforce"]
        descend = module.descend

        def spoiled(steppers, step, c):
            norm = descend(steppers, step, c)
            if step == 3:
                with torch.no_grad():
                    steppers["optimizer"].param_groups[0]["params"][0].fill_(float("inf"))
            return norm

        module.descend = spoiled


@pytest.mark.parametrize("every", [3, 2])
def test_broken_weights_are_exit_8_and_never_saved(every, root, children):
    directory = root / f"poisoned-{every}"
    unmeasured = ["heldout.every=0", "checkpoint.result=last", "checkpoint.keep_models=0"]
    words = runs.words("reinforce", root, f"checkpoint.every={every}", "algo.baseline=none", *unmeasured)
    settings = runs.settings(words)
    ended = children.run(settings, directory, Poisoned())
    assert ended.code == 8
    assert "policy.lm.model.embed_tokens.weight is not" in ended.err
    saved = sorted(p.name for p in (directory / "checkpoints").iterdir())
    assert saved == ([name_of(2)] if every == 2 else [])
    last = "the last good checkpoint is of step 2" if every == 2 else "no checkpoint was saved yet"
    assert f"{last}; try: rlnlp resume" in ended.err
    assert children.run(settings, directory).code == 0


class Hungry:
    """In step 3 more memory is wanted than there is."""

    def __init__(self, module, function):
        self.module, self.function = module, function

    def __call__(self, directory):
        """Arm it in this process."""
        module = sys.modules[self.module]
        real = getattr(module, self.function)

        def call(*args, **kwargs):
            if (directory / "metrics.jsonl").read_text().count("\n") == 2:
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                limit = pages * resource.getpagesize() + 2**28
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
                torch.empty(2**33)
            return real(*args, **kwargs)

        setattr(module, self.function, call)


@pytest.mark.parametrize(
    ("module", "function", "phase", "key"),
    [
        ("rlnlp.rollout.sampling", "inverse_cdf", "sampling", "algo.batch_size"),
        ("rlnlp.algos.reinforce", "policy_gradient", "the update", "algo.micro_batch_size"),
    ],
)
def test_memory_that_runs_out_is_exit_9_with_the_setting_to_lower(module, function, phase, key, root, children):
    directory, settings = root / f"hungry-{key}", asked("reinforce", root)
    ended = children.run(settings, directory, Hungry(module, function))
    assert ended.code == 9, ended.err
    told = error_lines(ended.err)
    assert told[0].startswith(f"rlnlp: out of memory in step 3 ({phase}): ")
    assert told[1].startswith(f"  lower {key}")
    assert f"rlnlp resume {directory} {key}=" in told[2]
    facts = json.loads((directory / "run.json").read_text())
    assert (facts["status"], facts["exit_code"], facts["steps"]) == ("failed", 9, 2)
    assert children.run(settings, directory).code == 0


def test_every_kind_of_memory_error_is_known_and_no_other():
    class OutOfMemoryError(RuntimeError):
        pass

    told = "[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
    for error in (MemoryError(), OutOfMemoryError("CUDA"), RuntimeError(told)):
        assert out_of_memory(error)
        assert exit_code(error) == Exit.MEMORY == 9
    for other in (RuntimeError("size mismatch"), ValueError("out of memory")):
        assert not out_of_memory(other)


def test_the_start_of_a_policy_is_finite():
    from rlnlp.run.nonfinite import broken_weight

    assert broken_weight({"policy": policy()}) is None
