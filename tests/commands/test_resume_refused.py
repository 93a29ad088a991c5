"""A resume that is refused, or fails before its checkpoint is loaded, leaves the run as it was, to the last byte."""

import fcntl
import json
import shutil

import pytest

from rlnlp import build
from rlnlp.cli.main import main
from rlnlp.errors import Stopped
from support import runs, small


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run."""
    place = tmp_path_factory.mktemp("refused")
    return runs.run(runs.settings(runs.words("reinforce", place)), place / "whole")


@pytest.fixture(scope="module")
def stopped(whole):
    """The same, stopped by a signal after step 4, as it would be then."""
    directory = runs.broken_off(whole, whole.with_name("stopped"), 2)
    path = directory / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "interrupted", "exit_code": 130}))
    return directory


def content(directory):
    """Every file but the lock, which tells people who came last."""
    return {p: p.read_bytes() if p.is_file() else None for p in directory.rglob("*") if p.name != "lock"}


def other_model(place, vocabulary):
    """A model of another size, with the tokenizer of the run."""
    small.lm(vocabulary, width=16).save_pretrained(place)
    small.tokenizer().save_pretrained(place)
    return place


ALLOW = "resume.allow="


def refusals(place, model, data):
    """The words of a resume, its exit status, and a part of the reason."""
    changed = place / "changed.jsonl"
    changed.write_text(data.read_text() + data.read_text().splitlines(keepends=True)[0])
    smaller = other_model(place / "smaller", len(small.tokenizer()))
    (place / "broken.py").write_text("def f(completions, lost):\n    return [0.0] * len(completions)\n")
    own = f"reward.terms.length.fn={place / 'broken.py'}:f"
    return [
        (["algo.total_steps=1"], 6, "has done step 2 already\n  give algo.total_steps=2 or more"),
        (["algo.learning_rate=1"], 6, "the run would not be the one it was"),
        (["seed=3"], 6, "cannot change"),
        (["algo.name=ppo"], 6, "the algorithm cannot change"),
        (["algo.nothing=1"], 2, "algo.nothing"),
        (["algo.learning_rate=-1"], 2, "algo.learning_rate"),
        (["algo.kl_coef=1", f"{ALLOW}seed"], 2, "cannot be allowed"),
        ([f"data.prompts={place / 'none.jsonl'}"], 3, "no such file"),
        ([f"data.prompts={changed}"], 6, "its content differs"),
        ([f"model.path={place / 'nowhere'}"], 4, "not found"),
        ([f"model.path={smaller}", f"{ALLOW}model.path"], 6, "other tensors than the model"),
        (["sampler.max_new_tokens=99999", f"{ALLOW}sampler.max_new_tokens"], 2, "max_new_tokens"),
        ([own, f"{ALLOW}reward.terms.length.fn"], 2, "no argument 'low'"),
        (["device.name=tpu", f"{ALLOW}device.name"], 2, "device.name"),
    ]


def test_whatever_is_refused_changes_no_file_of_the_run(whole, stopped, tmp_path, capsys):
    before = content(stopped)
    for words, code, reason in refusals(tmp_path, whole.parent / "model", whole.parent / "data.jsonl"):
        capsys.readouterr()
        assert main(["resume", str(stopped), *words]) == code, words
        assert reason in capsys.readouterr().err, words
        assert content(stopped) == before, words


def test_fewer_steps_than_a_finished_run_has_are_refused_before_anything_is_loaded(whole, capsys, monkeypatch):
    before = content(whole)
    monkeypatch.setattr(build, "language", lambda *_: pytest.fail("a model was loaded"))
    assert main(["resume", str(whole), "algo.total_steps=1"]) == 6
    assert f"has done step {runs.STEPS} already" in capsys.readouterr().err
    assert content(whole) == before


def test_a_run_that_is_in_use_is_left_alone(stopped, capsys):
    before = content(stopped)
    with (stopped / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["resume", str(stopped)]) == 6
    assert "is in use by another process" in capsys.readouterr().err
    assert content(stopped) == before


def test_checkpoints_that_are_all_damaged_leave_the_rest_as_it_was(stopped, tmp_path, capsys):
    directory = shutil.copytree(stopped, tmp_path / "damaged")
    for each in (directory / "checkpoints").iterdir():
        (each / "state.json").write_text("{}")
    before = content(directory)
    assert main(["resume", str(directory)]) == 6
    assert "no valid checkpoint in " in capsys.readouterr().err
    assert content(directory) == before


@pytest.mark.parametrize(
    ("error", "code"),
    [(Stopped(15), 143), (KeyboardInterrupt(), 130), (MemoryError("8 bytes"), 9), (ValueError("x"), 1)],
)
def test_what_happens_while_it_loads_is_not_how_the_run_ended(error, code, stopped, tmp_path, capsys, monkeypatch):
    directory = shutil.copytree(stopped, tmp_path / "run")

    def load(*_):
        raise error

    monkeypatch.setattr(build, "language", load)
    before = content(directory)
    assert main(["resume", str(directory)]) == code
    log = directory / "train.log"
    text = log.read_text().removeprefix(before.pop(log).decode())
    assert ("Traceback" in text) == (code in (1, 9)), "a bug is in the log, and what the user did is not"
    assert {path: kept for path, kept in content(directory).items() if path != log} == before
