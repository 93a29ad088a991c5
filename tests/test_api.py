"""``rlnlp`` in Python: the same runs and responses as by the command, and errors that are raised."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import rlnlp
from rlnlp.cli.main import main
from rlnlp.errors import Exit, Failure
from support import runs
from support.small import ROOT


@pytest.fixture(autouse=True)
def _as_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    precision = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(precision)


def fails(code, function, *arguments):
    with pytest.raises(Failure) as caught:
        function(*arguments)
    assert caught.value.code == code
    return str(caught.value)


def test_the_names_are_two_and_nothing_heavy_is_imported_before_they_are_asked_for():
    text = (
        "import sys, rlnlp\nheavy = {'torch', 'transformers', 'hydra', 'omegaconf', 'rich'} & set(sys.modules)\n"
        "print(sorted(heavy), dir(rlnlp), rlnlp.train.__name__, rlnlp.load.__name__, 'torch' in sys.modules)\n"
        "try:\n    rlnlp.nothing\nexcept AttributeError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split("\n")[:2] == [
        "[] ['__version__', 'load', 'train'] train load True", "module 'rlnlp' has no attribute 'nothing'",
    ]  # fmt: skip


@pytest.mark.parametrize("algo", runs.ALGORITHMS)
def test_train_gives_the_run_that_the_command_gives(algo, tmp_path):
    words = runs.words(algo, tmp_path, "algo.total_steps=2")
    begun = time.monotonic()
    with runs.without_pictures():
        run = rlnlp.train(words, directory="in python")
        assert main(["train", *words, "hydra.run.dir=by-command"]) == 0
    assert runs.difference(runs.outcome(run.directory), runs.outcome(Path("by-command"))) == []
    facts = json.loads(Path("in python/run.json").read_text())
    assert (facts["status"], facts["exit_code"], facts["command"]) == ("done", 0, "train")
    assert facts["seconds"] < time.monotonic() - begun, "not counted from the start of the process"
    assert (run.directory, run.result) == (Path("in python"), facts["result"])
    assert run.metrics == [json.loads(line) for line in Path("by-command/metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in run.metrics] == [1, 2]


def test_load_gives_the_policy_of_the_run_with_the_responses_of_the_command(tmp_path, capsys):
    run = rlnlp.train(runs.words("reinforce", tmp_path, "algo.total_steps=1"))
    assert run.directory.parent == Path("outputs/reinforce")
    policy = rlnlp.load(run.directory, ["device=cpu"])
    capsys.readouterr()
    assert main(["generate", str(run.directory), "the film", "the food", "-n", "2", "--json"]) == 0
    responses = policy.generate(["the film", "the food"], n=2)
    named = [{**response, "model": str(run.directory)} for response in responses]
    assert named == json.loads(capsys.readouterr().out)
    assert [record["prompt"] for record in responses] == ["the film"] * 2 + ["the food"] * 2
    assert policy.generate(["the film", "the food"], n=2) == responses, "the same draws at each call"
    other = policy.generate(["the film", "the food"], n=2, seed=1)
    assert other != responses
    assert rlnlp.load(str(run.directory), ["seed=1"]).generate(["the film", "the food"], n=2) == other
    assert len(policy.generate("the film")) == 1
    assert policy.model.config.model_type == "llama"
    assert policy.tokenizer.decode(policy.tokenizer.encode("the film"), skip_special_tokens=True) == "the film"
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        policy.generate("the film", n=0)
    assert "tokens" in fails(Exit.DATA, policy.generate, "the " * 100)


def test_what_the_command_refuses_is_raised_with_its_exit_code(tmp_path):
    assert "learning_rate" in fails(Exit.CONFIG, rlnlp.train, ["algo.learning_rte=1"])
    assert "no algo 'pppo'; did you mean 'algo=ppo'?" in fails(Exit.CONFIG, rlnlp.train, ["algo=pppo"])
    for word in ("-m", "--cfg", "--multirun=1", "train"):
        assert f"'{word}' is no setting: want key=value" in fails(Exit.CONFIG, rlnlp.train, [word])
        assert f"'{word}' is no setting: want key=value" in fails(Exit.CONFIG, rlnlp.load, "embedded", [word])
    fails(Exit.CONFIG, rlnlp.train, ["seed=1,2"])
    fails(Exit.CONFIG, rlnlp.train, ["hydra.job_logging.x=1"])
    fails(Exit.MODEL, rlnlp.train, ["model.path=./nowhere"])
    fails(Exit.MODEL, rlnlp.load, "./nowhere")
    fails(Exit.CONFIG, rlnlp.load, "embedded", ["sampler.temperature=-1"])
    assert not list(tmp_path.rglob("run.json"))


def test_a_second_run_in_a_directory_is_refused_and_the_first_is_as_it_was(tmp_path):
    words = runs.words("sft", tmp_path, "algo.total_steps=1")
    run = rlnlp.train(words, directory="once")
    before = (run.directory / "run.json").read_bytes()
    assert "holds a run already" in fails(Exit.RUN, rlnlp.train, words, "once")
    assert (run.directory / "run.json").read_bytes() == before
