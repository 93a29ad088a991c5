"""``rlnlp check``: faults that are planted are found, each with its name and what to do; nothing is left behind."""

import json
import os
import shutil
import signal
import tempfile
from collections import namedtuple
from contextlib import suppress

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertLMHeadModel

from rlnlp.cli.main import main
from rlnlp.commands.check import costs, look, rewards
from rlnlp.commands.check.findings import Finding, of_failure
from rlnlp.config.parse import parse
from rlnlp.config.reward import Reward
from rlnlp.errors import Exit, Failure, Stopped
from rlnlp.models.policy import Policy
from rlnlp.rewards.shaping import Shaping
from rlnlp.types import PolicyOutput, Scores
from support import chat, small

REWARDS = """
def fails(completions):
    return [1 / 0 for _ in completions]

def silent(completions):
    return [None for _ in completions]

def same(completions):
    return [0.5 for _ in completions]

def wide(completions):
    return [1000.0 * len(text) for text in completions]
"""
ONLY = "+reward.terms={x: {fn: mine.py:NAME}}"


@pytest.fixture
def checked(tmp_path, monkeypatch, capsys, model_dir):
    """What a check of some settings gives as a record, with its exit code; it left nothing where it was called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "mine.py").write_text(REWARDS)
    small.write_prompts(tmp_path / "p.jsonl", 40)

    def check(*words, algo="ppo", model=model_dir, data="prompts=p.jsonl"):
        before = sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts)
        base = [f"algo={algo}", f"model.path={model}", f"data.{data}", "sampler.max_new_tokens=5", "device=cpu"]
        base += ["algo.total_steps=2", "algo.batch_size=4"] if algo != "rlhf" else []
        capsys.readouterr()
        code = main(["check", *base, *words, "--json"])
        record = json.loads(capsys.readouterr().out)
        after = sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts)
        assert after == before
        return code, record

    return check


def named(record):
    return {each["name"]: each for each in record["findings"]}


def only(function):
    return ["~reward.terms", ONLY.replace("NAME", function)]


@pytest.mark.parametrize(
    "algo", ["ppo", *(pytest.param(name, marks=pytest.mark.slow) for name in ("reinforce", "sft"))]
)
def test_sound_settings_are_sound_and_the_record_has_what_a_run_takes(algo, checked, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "the film is very good ."}\n{"text": "a room was cold !"}\n')
    data = "texts=t.jsonl" if algo == "sft" else "prompts=p.jsonl"
    code, record = checked("heldout.size=1", algo=algo, data=data)
    assert (code, record["sound"]) == (0, True), record["findings"]
    assert all(each["severity"] == "warning" for each in record["findings"])
    assert record["seconds"] > record["step_seconds"] > 0
    assert 2**34 > record["memory_bytes"] > 2**26
    assert record["command"].startswith(f"rlnlp train algo={algo} model.path=")
    assert {"settings", "model", "tokenizer", "data", "sampling"} <= set(record["checks"])
    assert ("reward" in record["checks"]) == (algo != "sft")


@pytest.mark.slow
def test_rounds_are_checked_with_both_models_and_leave_a_feedback_set_alone(checked):
    stages = [f"algo.{name}.{key}" for name in ("policy", "reward_model") for key in ("total_steps=2", "batch_size=4")]
    asked = ["algo.prompts_per_round=9", "annotator.comparisons_per_round=9", "data.feedback=new.sqlite"]
    words = [*stages, *asked, "heldout.size=2", "reward=sentiment", "algo.reward_model.learning_rate=1"]
    code, record = checked(*words, "annotator=web", algo="rlhf")
    assert (code, record["sound"]) == (0, True), record["findings"]
    (found,) = [each for each in record["findings"] if each["name"] == "learning-rate"]
    assert "algo.reward_model.learning_rate is 1; a model of" in found["what"]
    assert "algo.reward_model.learning_rate=0.00" in found["fix"]
    assert {"settings", "model", "tokenizer", "data", "sampling", "reward"} <= set(record["checks"])
    assert record["seconds"] > record["step_seconds"] > 0
    assert record["memory_bytes"] > 2**26
    assert record["command"].startswith("rlnlp train algo=rlhf model.path=")


FAULTS = [
    # words of the command, exit code, name of the finding, what its fix names
    (only("same"), 7, "constant-reward", "check-reward"),
    (only("fails"), 7, "reward-fails", "fix the function"),
    (["+reward.terms.x={fn: mine.py:silent}"], 0, "term-abstains", "~reward.terms.x"),
    (["+reward.terms.x={fn: mine.py:same}"], 0, "term-constant", "reward.terms.x.scale"),
    (["+reward.terms.x={fn: mine.py:wide}"], 0, "term-dominates", "lower reward.terms.x.weight"),
    (["reward.terms.diversity.floor=2"], 0, "term-vetoes", "lower reward.terms.diversity.floor"),
    (["sampler.min_new_tokens=5"], 0, "end-not-reached", "lower sampler.min_new_tokens"),
    (["sampler.top_k=3"], 0, "filtered-sampling", "sampler.top_k=0"),
    (["sampler=greedy", "sampler.max_new_tokens=5"], 0, "greedy-sampling", "sampler=default"),
    (["algo.learning_rate=1"], 0, "learning-rate", "algo.learning_rate="),
    (["sampler.max_new_tokens=64"], 2, "config", "lower it"),
    (["algo.learning_rte=1"], 2, "config", "did you mean 'algo.learning_rate=1'?"),
    (["model.path=./nowhere"], 4, "model", "model"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "name", "fix"), FAULTS, ids=[name + str(i) for i, (*_, name, _) in enumerate(FAULTS)]
)
def test_a_planted_fault_is_found_with_its_name_and_its_fix(words, code, name, fix, checked):
    got, record = checked(*words)
    assert name in named(record), record["findings"]
    found = named(record)[name]
    assert fix in found["fix"]
    assert found["severity"] == ("error" if code else "warning")
    assert (got, record["sound"]) == (code, code == 0)


def with_model(folder, change):
    """A copy of the small model's directory with ``change`` made to the weights."""
    weights = load_file(folder / "model.safetensors")
    save_file(change(weights), folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture
def model_copy(tmp_path, model_dir):
    shutil.copytree(model_dir, tmp_path / "model")
    return tmp_path / "model"


def test_a_tokenizer_that_fills_up_with_its_end_token_is_told_and_is_no_error(checked, model_copy):
    words = small.tokenizer()
    words.pad_token = words.eos_token
    words.save_pretrained(model_copy)
    code, record = checked(model=model_copy)
    found = named(record)["pad-is-eos"]
    assert (code, record["sound"], found["severity"]) == (0, True, "warning")
    assert "pad token of its own" in found["fix"]
    assert "'</s>'" in found["what"]


def test_weights_that_are_not_finite_and_a_model_that_sees_ahead_are_errors(checked, model_copy):
    def broken(weights):
        name = sorted(weights)[0]
        return {**weights, name: torch.full_like(weights[name], float("nan"))}

    code, record = checked(model=with_model(model_copy, broken))
    assert (code, [each["name"] for each in record["findings"]]) == (4, ["weights-not-finite"])
    assert record["findings"][0]["fix"] == "use an earlier one, or download it again"
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(small.tokenizer()), pad_token_id=0, **size)
    BertLMHeadModel(config).save_pretrained(model_copy)
    code, record = checked(model=model_copy)
    assert (code, [each["name"] for each in record["findings"]]) == (4, ["model-causal"])
    assert "use a causal model" in record["findings"][0]["fix"]


@pytest.mark.slow
def test_what_is_wrong_with_prompts_is_told(checked, tmp_path):
    rows = [{"prompt": "the film </s> is", "reference": "good"}, {"prompt": "very " * 70, "reference": "good"},
            {"prompt": "a room", "reference": "good"}]  # fmt: skip
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, record = checked(data="prompts=q.jsonl")
    assert code == 0
    assert "data.too_long=cut" in named(record)["prompts-dropped"]["fix"]
    assert "1 of 2 texts with words of control tokens (</s>)" in named(record)["control-words"]["what"]
    code, record = checked("data.too_long=refuse", data="prompts=q.jsonl")
    assert (code, named(record)["prompts-too-long"]["fix"].count("data.too_long=drop")) == (3, 1)
    (tmp_path / "bare.jsonl").write_text('{"prompt": "the film"}\n')
    code, record = checked("reward=classic", data="prompts=bare.jsonl")
    assert (code, "add the field to the data" in named(record)["no-reference"]["fix"]) == (3, True)
    code, record = checked(data="prompts=bare.jsonl")
    assert (code, "term-left-out" in named(record)) == (0, True)


@pytest.mark.slow
def test_conversations_and_chat_templates_that_do_not_meet_are_told(checked, tmp_path):
    (tmp_path / "c.jsonl").write_text(json.dumps({"prompt": chat.turns("Hi")}) + "\n")
    code, record = checked(data="prompts=c.jsonl")
    assert (code, "data.template=FILE" in named(record)["no-chat-template"]["fix"]) == (4, True)
    model = chat.save_model(tmp_path / "chat")
    code, record = checked(model=model)
    assert (code, "data.system=TEXT" in named(record)["plain-texts"]["fix"]) == (0, True)
    code, record = checked(data="prompts=c.jsonl", model=model)
    assert (code, "plain-texts" in named(record)) == (0, False)


def test_a_disk_that_is_too_small_is_an_error_and_too_little_memory_a_warning(checked, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 2**20))
    monkeypatch.setattr("rlnlp.commands.check.costs.whole_memory", lambda device: 2**20)
    code, record = checked()
    assert (code, "hydra.run.dir=" in named(record)["disk-full"]["fix"]) == (5, True)
    assert record["disk_free_bytes"] == 2**20 < record["disk_bytes"]
    assert "algo.micro_batch_size" in named(record)["memory"]["fix"]


def test_a_directory_that_has_a_run_or_cannot_be_written_to_is_an_error(checked, monkeypatch, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.json").write_text("{}")
    code, record = checked("hydra.run.dir=old")
    assert (code, "hydra.run.dir=" in named(record)["run"]["fix"]) == (6, True)
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append(path))
    code, record = checked("hydra.run.dir=not/there/yet")
    assert (code, "hydra.run.dir=" in named(record)["directory"]["fix"], asked[0]) == (5, True, tmp_path)


def test_in_words_what_is_wrong_comes_first_and_the_command_that_trains_last(checked, capsys, tmp_path, model_dir):
    words = ["algo=reinforce", f"model.path={model_dir}", "data.prompts=p.jsonl", "algo.total_steps=2",
             "sampler.max_new_tokens=5", "sampler.min_new_tokens=5", "device=cpu"]  # fmt: skip
    assert main(["check", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    shown = out.split("\n")
    assert shown[0].startswith("warning")
    assert shown[1].startswith("  to do          ")
    assert shown[-3:] == ["sound, with 1 warning; train with:", f"  rlnlp train {' '.join(words)}", ""]
    labels = [line[:17].strip() for line in shown if line[:1].isalpha()]
    assert labels[-4:-1] == ["time", "memory", "disk"]
    assert [label for label in labels if label.startswith("ok ")] == [
        "ok settings", "ok model", "ok tokenizer", "ok data", "ok sampling", "ok first update", "ok reward",
        "ok reference",
    ]  # fmt: skip


def test_a_sweep_is_not_checked_and_no_flag_of_it_is_taken_by_what_trains(checked, capsys):
    assert main(["check", "-m", "seed=1,2"]) == 2
    assert "rlnlp train -m --dry-run seed=1,2" in capsys.readouterr().err
    assert main(["train", "--json"]) == 2
    assert "no flag '--json'" in capsys.readouterr().err


def test_tokens_that_are_scored_otherwise_than_they_were_drawn_are_an_error(checked, monkeypatch):
    real = look.as_drawn

    def moved(policy, rollout, distribution):
        logprobs, ends = real(policy, rollout, distribution)
        return torch.where(logprobs < 0, logprobs - 0.05, logprobs), ends

    monkeypatch.setattr(look, "as_drawn", moved)
    code, record = checked()
    found = named(record)["drawn-is-not-scored"]
    assert (code, found["severity"], "device.dtype=float32" in found["fix"]) == (4, "error", True)
    assert "1.05" in found["what"]


def test_a_first_update_that_would_score_a_text_anew_is_an_error(checked, monkeypatch):
    real = Policy.forward

    def noisy(self, rollout, distribution):
        out = real(self, rollout, distribution)
        more = 0.1 if torch.is_grad_enabled() else 0.0  # as dropout that is on in training alone
        return PolicyOutput(out.logprobs + more, out.entropy)

    monkeypatch.setattr(Policy, "forward", noisy)
    code, record = checked()
    assert (code, named(record)["ratio-not-one"]["severity"]) == (4, "error")
    assert "first update" not in record["checks"]
    assert "dropout" in named(record)["ratio-not-one"]["fix"]


def test_an_interrupted_check_says_so_and_leaves_nothing(checked, monkeypatch, capsys, tmp_path, model_dir):
    def stopped(*_):
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(look, "_draw", stopped)
    words = [f"model.path={model_dir}", "data.prompts=p.jsonl", "sampler.max_new_tokens=5", "device=cpu"]
    assert main(["check", *words]) == 143
    assert capsys.readouterr().err == "rlnlp check: interrupted\n"
    assert not list((tmp_path / "tmp").iterdir())

    def swallowed(*_):
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise Failure(Exit.MODEL, "it could not be imported")

    monkeypatch.setattr(look, "_draw", swallowed)
    assert main(["check", *words]) == 143
    assert capsys.readouterr() == ("", "rlnlp check: interrupted\n")
    monkeypatch.setattr(look, "_draw", lambda *_: (_ for _ in ()).throw(MemoryError("no room")))
    code, record = checked()
    assert (code, "algo.micro_batch_size" in named(record)["memory"]["fix"]) == (9, True)


def scores(**terms):
    values = {name: torch.tensor(list(each), dtype=torch.float32) for name, each in terms.items()}
    return Scores(sum(values.values()).unsqueeze(1), values)


def reward(*names, **more):
    return parse(Reward, {"terms": {name: {"fn": "length", **more} for name in names}, "workers": 0})


def found_in(scored, settings):
    shapings = {name: Shaping(term.scale, term.shift, None, term.floor) for name, term in settings.terms.items()}
    return [each.name for each in rewards.reward_findings(scored, settings, shapings)]


def test_a_term_dominates_by_what_it_adds_not_by_its_value():
    wide, narrow = [0.0, 10.0, 20.0], [0.1, 0.2, 0.0]
    assert found_in(scores(a=wide, b=narrow), reward("a", "b")) == ["term-dominates"]
    light = parse(Reward, {"terms": {"a": {"fn": "length", "weight": 0.01}, "b": {"fn": "length"}}, "workers": 0})
    assert found_in(scores(a=wide, b=narrow), light) == []
    assert found_in(scores(a=wide), reward("a")) == [], "alone it outweighs nothing"
    assert found_in(scores(a=[1.0, 1.0 + 1e-8], b=[1.0, 1.0]), reward("a", "b")) == [
        "constant-reward", "term-constant", "term-constant",
    ]  # fmt: skip
    assert found_in(scores(a=[1.0, 2.0], b=[0.0, 3.0]), reward("a", "b", floor=5.0)) == ["term-vetoes"] * 2


def test_what_is_said_of_a_term_is_of_the_responses_that_it_judges():
    whole = scores(a=[1.0, 1.0, 2.0, 0.0], b=[0.0, 1.0, 2.0, 4.0])
    given = torch.tensor([True, True, False, False])
    assert found_in(Scores(whole.rewards, whole.terms, {"a": given}), reward("a", "b")) == ["term-constant"]
    assert found_in(Scores(whole.rewards, whole.terms, {"a": given & False}), reward("a", "b")) == ["term-abstains"]


def test_an_end_that_some_response_reaches_is_no_finding():
    mask, none = torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, dtype=torch.bool)
    probability = torch.full((2, 3), 0.25)
    (found,) = rewards.end_findings(none, probability, mask, 1.5, 0)
    assert found.what == (
        "none of 2 responses ends within 3 tokens (an end token's mean probability is 0.25), and each loses 1.5 for it"
        " (algo.missing_eos_penalty)"
    )
    assert found.fix.startswith("raise sampler.max_new_tokens")
    assert not list(rewards.end_findings(torch.tensor([True, False]), probability, mask, 1.5, 0))
    assert [f.name for f in rewards.length_findings(["", " ", "x"], mask.sum(0))] == ["empty-responses"]
    assert not list(rewards.length_findings(["", "x"], mask.sum(1)))


def test_the_first_trial_is_left_out_and_slow_steps_are_few(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(costs.time, "monotonic", lambda: clock[0])

    def trial(seconds):
        def step(number):
            taken = seconds if number > 1 or clock[0] else 9 * seconds
            clock[0] += taken
            return taken

        return step

    assert costs.tried_steps(trial(1.0), 60) == [1.0] * 10
    clock[0] = 0.0
    assert costs.tried_steps(trial(4.0), 60) == [4.0] * 5
    clock[0] = 0.0
    assert costs.tried_steps(trial(20.0), 60) == [180.0]
    clock[0] = 0.0
    assert costs.tried_steps(trial(1.0), 3) == [1.0] * 3


def test_messages_of_failures_become_what_and_fix():
    two = of_failure(Failure(Exit.CONFIG, "seed must be >= 0, got -1\nalgo.gamma must be <= 1, got 2"))
    assert [(f.what, f.fix) for f in two] == [
        ("seed must be >= 0, got -1", "change the setting: rlnlp train --help lists what there is"),
        ("algo.gamma must be <= 1, got 2", "rlnlp explain algo.gamma says what it takes"),
    ]
    (one,) = of_failure(Failure(Exit.REWARD, "a\nb\nc", "reward-fails"))
    assert one == Finding("reward-fails", "error", "a; b", "c", Exit.REWARD)
    (one,) = of_failure(Failure(Exit.DATA, "a"))
    assert (one.name, one.what, one.fix) == ("data", "a", "change the data, or name other data")
