"""What a run prints before its first step: every fact of it, and that finding it out changes no byte of the run."""

import importlib
import os
import shutil
from collections import namedtuple

import pytest
import torch

from rlnlp import device
from rlnlp.algos.opening import Rows, disk_text, known, time_text
from rlnlp.algos.optim import optimizers, state_bytes
from rlnlp.commands.preflight import parse_run_config
from rlnlp.config.description import duration
from rlnlp.run import checkpoint
from rlnlp.run.parts import named_tensors, tensor_files
from support import runs, small

FILTER = ["sampler.top_k=6"]  # where REINFORCE cannot learn from its first pass
MORE = {
    "ppo": [[], ["algo.critic=shared", "algo.critic_learning_rate=null", *FILTER]],
    "reinforce": [["algo.baseline=greedy"], ["algo.baseline=ema", *FILTER]],
    "sft": [["algo.optimizer=muon"]],
}
CASES = [(algo, more) for algo, each in MORE.items() for more in each]


def config(*words):
    return parse_run_config(runs.settings(list(words)))


@pytest.mark.parametrize(
    ("algo", "more"), CASES, ids=lambda value: "-".join(value) if isinstance(value, list) else value
)
def test_the_trial_step_changes_no_byte_of_the_run(algo, more, tmp_path, monkeypatch):
    words = runs.settings(runs.words(algo, tmp_path, "algo.total_steps=2", *more))
    with_trial = runs.outcome(runs.run(words, tmp_path / "with"))
    monkeypatch.setattr(importlib.import_module(f"rlnlp.algos.{algo}"), "trial_step", lambda *_: 3.0)
    without = runs.outcome(runs.run(words, tmp_path / "without"))
    assert runs.difference(with_trial, without) == []
    assert "of 3 s (from a trial)" in (tmp_path / "without" / "train.log").read_text()


@pytest.mark.parametrize("algo", MORE)
def test_every_algorithm_prints_one_block_before_its_first_step_and_logs_it(algo, tmp_path, capsys):
    words = runs.words(algo, tmp_path, "algo.total_steps=2")
    directory = runs.run(runs.settings(words), tmp_path / "run")
    err = capsys.readouterr().err
    before, _, after = err.partition("step 1/2")
    block = before.partition("run directory")[2].partition("warning: ")[0]  # of the first step, if there is one
    labels = [line[:12].strip() for line in block.split("\n")[1:] if line[:1].isalpha()]
    data = {"sft": ["texts", "responses"], "reward-model": ["preferences", "scores"]}
    middle = data.get(algo, ["prompts", "reward", "responses"])
    assert labels == ["algorithm", "model", "device", *middle, "optimizer", "schedule", "time", "disk"]
    assert "algorithm" not in after
    log = (directory / "train.log").read_text()
    assert block.partition("algorithm")[2].partition("\ndisk")[0] in log
    folder = "reward_model" if algo == "reward-model" else "policy"
    for page in ("summary.md", f"{folder}/README.md"):
        assert "computed in float32 |" in (directory / page).read_text(), "what device.dtype=auto came to"
    runs.go_on(runs.broken_off(directory, tmp_path / "again", 1))
    assert "algorithm   " in capsys.readouterr().err, "a resumed run says it too"


def test_what_only_the_loaded_parts_know_is_in_the_block():
    policy = small.policy()
    count = sum(p.numel() for p in policy.parameters())
    texts = known(
        config("algo=ppo"), torch.device("cpu"), Rows(1234, 56, True), {"policy": policy, "critic": policy.lm}
    )
    assert texts["model"] == f"embedded, computed in float32\nparameters: policy {count:,}, critic {count:,}"
    assert texts["prompts"] == "embedded/review: 1,234 to train on, 56 held out"
    assert texts["device"].startswith("cpu, 1 thread")
    texts = known(config("algo=sft"), torch.device("cpu"), Rows(8, 8, False), {"policy": policy})
    assert texts["texts"] == "embedded: 8 to train on, none held out, 8 of them are measured on"


@pytest.mark.parametrize(
    ("threads", "cores", "words"),
    [
        (1, 1, "cpu, 1 thread"),
        (1, 2, "cpu, 1 thread: 1 of 2 cores is idle; device.threads=2 uses all, and changes the last bits"),
        (2, 8, "cpu, 2 threads: 6 of 8 cores are idle; device.threads=8 uses all, and changes the last bits"),
        (4, 2, "cpu, 4 threads: more than there are cores (2), which is slow; device.threads=2 is faster"),
    ],
)
def test_idle_cores_are_named_with_the_setting_that_uses_them(threads, cores, words, monkeypatch):
    monkeypatch.setattr(device, "cores", lambda: cores)
    assert device.device_text(torch.device("cpu"), threads) == words


def test_the_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(device.Path, "read_text", lambda _: "250000 100000\n")
    assert device.cores() == 2
    monkeypatch.setattr(device.Path, "read_text", lambda _: "50000 100000\n")
    assert device.cores() == 1
    monkeypatch.setattr(device.Path, "read_text", lambda _: "max 100000\n")
    assert device.cores() == 16


def test_the_time_is_that_of_the_steps_and_the_measurements_that_are_left():
    asked = config("algo=reinforce", "algo.total_steps=100", "heldout.every=50")
    assert time_text(asked, 0, 0.5, 2.0) == (
        "about 58 seconds: 100 steps of 0.5 s (from a trial), 4 measurements of 2 s"  # at 1, 50 and 100, and after
    )
    assert time_text(asked, 60, 0.5, 2.0) == (
        "about 24 seconds: 40 steps left of 0.5 s (from a trial), 2 measurements of 2 s"
    )
    assert time_text(asked, 0, 0.5, 2.0, 600.0) == (
        "about 11 minutes: 10 minutes once for the features of all texts, 100 steps of 0.5 s (from a trial),"
        " 4 measurements of 2 s"
    )
    assert [duration(s) for s in (0.2, 89, 120, 7200)] == ["1 second", "89 seconds", "2 minutes", "2.0 hours"]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_disk_that_a_checkpoint_takes_is_known_before_the_first_step(optimizer, tmp_path):
    asked = config("algo=sft", f"algo.optimizer={optimizer}", "algo.learning_rate=1e-3")
    policy = small.policy()
    made = optimizers(policy, asked.algo)
    for p in policy.parameters():
        p.grad = torch.ones_like(p)
    for each in made.values():
        each.step()
    state = sum(t.nbytes for tensors in tensor_files(made).values() for t in tensors.values())
    assert state_bytes(policy, asked.algo) == pytest.approx(state, rel=0.01)
    (tmp_path / "checkpoints").mkdir()
    path = checkpoint.save(tmp_path / "checkpoints", 1, {"policy": policy, **made}, {})
    written = sum(file.stat().st_size for file in path.iterdir())
    weights = sum(t.nbytes for t in named_tensors(policy).values())
    assert weights + state_bytes(policy, asked.algo) == pytest.approx(written, rel=0.1)


def test_the_disk_counts_every_checkpoint_that_is_there_at_once_and_warns_if_it_is_too_small(tmp_path, monkeypatch):
    policy = small.policy(width=256)
    one, usage = policy.lm.num_parameters() * 4, namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 2**34))
    words = ["algo=reinforce", "algo.total_steps=40", "checkpoint.every=10", "checkpoint.keep=2", "heldout.every=0"]
    mib = [f"{size / 2**20:.1f} MiB" for size in (3 * 3 * one + one + 2**20, 3 * one, one)]
    text = disk_text(config(*words), tmp_path, {"policy": policy})
    assert text == f"{mib[0]}: 2 checkpoints of {mib[1]} and the model of {mib[2]}; 16.0 GiB free"
    assert disk_text(config(*words, "heldout.every=10"), tmp_path, {"policy": policy}).count("3 checkpoints") == 1
    models = disk_text(config(*words, "heldout.every=10", "checkpoint.keep_models=1"), tmp_path, {"policy": policy})
    assert f"and 4 models of {mib[2]};" in models, "policy/, the newest, the best, and one that is being written"
    assert ": 1 checkpoint of" in disk_text(config(*words, "checkpoint.every=0"), tmp_path, {"policy": policy})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 2**20))
    assert "warning: that does not fit; lower checkpoint.keep" in disk_text(
        config(*words), tmp_path, {"policy": policy}
    )
