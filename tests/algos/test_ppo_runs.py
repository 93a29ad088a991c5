"""PPO through the real command: what it says, what it writes, what it can be given."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForSequenceClassification

from rlnlp.algos import ppo
from rlnlp.algos.opening import FILTERED
from rlnlp.cli.main import main
from support import runs, small


@pytest.fixture
def train(model_dir, tmp_path, monkeypatch, capsys):
    """The command in this process, in a folder of the test's own: (exit status, run directory, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    prompts = small.write_prompts(tmp_path / "prompts.jsonl", 20)
    words = [
        f"model.path={model_dir}", f"data.prompts={prompts}", "algo.total_steps=2", "algo.batch_size=4",
        "sampler.max_new_tokens=5", "heldout.size=2", "samples.show=0", "algo.ppo_epochs=4",
        "device=cpu",
    ]  # fmt: skip

    def run(name, *more):
        capsys.readouterr()
        with runs.without_pictures():
            code = main(["ppo", *words, *more, f"hydra.run.dir={name}"])
        return code, tmp_path / name, *capsys.readouterr()

    return run


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_a_run_tells_its_schedule_the_filter_and_what_is_wrong_with_it(train):
    constant = ["~reward.terms", "+reward.terms={none: {fn: keywords, args: {words: [zebra]}}}"]
    more = ["algo.total_steps=12", "algo.critic_warmup_steps=1", "algo.num_generations=2", "sampler.top_k=6"]
    code, directory, out, err = train("run", *constant, *more)
    assert code == 0, err
    assert "12 steps of 4 prompts x 2 = 8 responses: 96 responses, at most 480 new tokens\n" in err
    assert "each step 4 epochs x 1 minibatch of 8: 4 updates, 48 in all\n" in err
    assert err.count(FILTERED) == 1
    found = rows(directory)
    assert all(row["sampling_mismatch"] > 0.01 and row["equal_groups"] == 1 for row in found)
    assert ["entropy" in row for row in found] == [False] + [True] * 11
    health = json.loads((directory / "run.json").read_text())["result"]["health"]
    assert health["reward"].startswith("every response scores 0: ")
    for words in health.values():
        assert f"warning: {words}" in " ".join(out.split())
        assert " ".join(err.split()).count(f"warning: {words[:20]}") == 1


def test_a_run_without_a_filter_says_nothing_of_one_and_starts_each_step_at_its_own_policy(train):
    code, directory, out, err = train("run", "algo.ppo_epochs=1")
    assert code == 0
    assert "warning" not in out + err
    for row in rows(directory):
        assert row["ratio"] == pytest.approx(1, abs=1e-4)
        assert row["approx_kl"] == pytest.approx(0, abs=1e-7)
        assert (row["clip_fraction"], row["updates"]) == (0, 1)
    assert json.loads((directory / "run.json").read_text())["result"]["health"] == {}
    assert "sampling_mismatch" not in rows(directory)[0]


def test_a_model_that_answers_differently_each_time_is_stopped_in_the_trial_though_looks_are_learned_from(
    train, monkeypatch
):
    def noisy(policy, *more, made=ppo.actor_critic):
        for layer in policy.lm.model.layers:
            layer.self_attn.attention_dropout = 0.5
        policy.lm.train()
        return made(policy, *more)

    monkeypatch.setattr(ppo, "actor_critic", noisy)
    code, directory, _, err = train("noisy", "algo.critic=shared", "algo.critic_learning_rate=3e-4")
    assert (code, "usual causes: dropout" in err) == (4, True)
    assert not (directory / "metrics.jsonl").exists() or rows(directory) == []


def test_bfloat16_computes_in_half_precision_and_keeps_weights_and_optimizers_in_float32(train, model_dir):
    more = ["algo.critic=shared", "algo.critic_learning_rate=1e-2", "algo.learning_rate=1e-2"]
    directories = []
    for name, words in (("plain", []), ("half", ["device.dtype=bfloat16"])):
        code, directory, _, err = train(name, *more, *words)
        assert code == 0, err
        directories.append(directory)
    plain, half = (rows(directory) for directory in directories)
    assert all(math.isfinite(figure) for row in half for figure in row.values())
    assert half[0]["entropy"] != plain[0]["entropy"]
    assert half[0]["ratio"] != plain[0]["ratio"]
    (checkpoint,) = (directories[1] / "checkpoints").iterdir()
    files = [*checkpoint.rglob("*.safetensors"), directories[1] / "policy" / "model.safetensors"]
    assert len(files) > 3
    kinds = {tensor.dtype for file in files for tensor in load_file(file).values() if tensor.is_floating_point()}
    assert kinds == {torch.float32}
    start, end = (load_file(place / "model.safetensors") for place in (model_dir, directories[1] / "policy"))
    moved = torch.cat([(end[name] - start[name]).flatten() for name in start]).abs()
    assert (moved[moved > 0].min() < 1e-4).item(), "steps smaller than bfloat16 could take are kept"


def test_gradient_checkpointing_trains_as_without_it(train):
    found = []
    for name, words in (("plain", []), ("less", ["model.gradient_checkpointing=true"])):
        code, directory, _, err = train(name, "algo.critic=separate", *words)
        assert code == 0, err
        found.append(rows(directory))
    for plain, less in zip(*found, strict=True):
        assert less == pytest.approx(plain, rel=1e-3, abs=1e-4)


def test_a_critic_starts_from_a_reward_model(train, tmp_path):
    config = LlamaConfig(
        vocab_size=len(small.tokenizer()), hidden_size=24, intermediate_size=48, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64, num_labels=1, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForSequenceClassification(config).save_pretrained(tmp_path / "rm")
    code, directory, _, err = train("run", "algo.critic=separate", "algo.critic_path=rm")
    assert code == 0, err
    (checkpoint,) = (directory / "checkpoints").iterdir()
    widths = {
        t.shape[1] for file in checkpoint.glob("critic*.safetensors") for t in load_file(file).values() if t.ndim > 1
    }
    assert 24 in widths
    plain = train("plain", "algo.critic=separate")
    assert rows(plain[1])[0]["value_loss"] != rows(directory)[0]["value_loss"]


@pytest.mark.parametrize("place", ["nowhere", "model"])
def test_a_critic_path_that_is_no_reward_model_is_exit_4(train, model_dir, place):
    where = model_dir if place == "model" else "nowhere"
    code, _, _, err = train("run", "algo.critic=separate", f"algo.critic_path={where}")
    assert code == 4
    told = [line for line in err.splitlines() if "algo.critic_path" in line]
    assert len(told) == 1
    assert "Traceback" not in err
