"""Trackers: each step once, whatever breaks; a run that is as it would be without one."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlnlp.commands.preflight import faults
from rlnlp.config.tracker import TRACKERS, Tracker
from rlnlp.errors import Exit, Failure
from rlnlp.run.tracking import beside, follow
from rlnlp.run.tracking.rows import NewSteps
from rlnlp.run.tracking.tracker import FOLDER, Request, check_installed, flat, numbers_of
from support.fake_wandb import install
from support.tracked_runs import a_run, append, take_step

ASKED = Tracker("wandb", "a project", None, False)
NEVER = SimpleNamespace(arrived=None)
KILLED = """
import os, signal, sys, time
from pathlib import Path
from rlnlp.config.tracker import Tracker
from rlnlp.run.tracking.beside import tracked
with tracked(Path(sys.argv[1]), "an-id", Tracker("wandb", "p", None, False), 0, print, None):
    os.fork() or time.sleep(15)  # code of the user's that lives on holds the pipe
    os.kill(os.getpid(), signal.SIGKILL)
"""


class Kept:
    """A tracker in memory; ``faults`` are raised by the next calls of ``log``."""

    def __init__(self, keeps=True):
        self.logged, self.opened, self.ends, self.faults = [], [], [], []
        self.last_step, self.where, self._keeps = 0, "in memory", keeps

    def open(self, run):
        self.opened.append(run)
        self.last_step = max(self.logged, default=0) if self._keeps else run.sent
        return self

    def log(self, rows):
        for row in rows:
            if self.faults and self.faults[0] == row.step:
                self.faults.pop(0)
                raise ConnectionError("the network\x1b[31m is down")
            self.logged.append(row.step)
            self.last_step = row.step

    def end(self, status, result):
        self.ends.append((status, result))


def followed(monkeypatch, directory, kept, told, saved=0):
    monkeypatch.setattr(follow, "opener", lambda name: kept.open)
    request = Request(str(directory), "an-id", "wandb", "a project", "a name", False, saved)
    return follow.Follower(request, told.append)


def test_a_step_is_given_once_when_its_line_is_whole_and_its_time_is_known(tmp_path):
    directory = a_run(tmp_path / "run", 0)
    steps = NewSteps(directory)
    append(directory, "metrics", step=1, score=0.1, stage="policy")
    assert steps.read(last=False) == []
    append(directory, "timing", step=1, seconds=2.0)
    with (directory / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "sc')
    (row,) = steps.read(last=False)
    assert (row.step, row.values) == (1, {"score": 0.1, "stage": "policy", "timing/seconds": 2.0})
    assert row.numbers == {"score": 0.1, "timing/seconds": 2.0}
    with (directory / "metrics.jsonl").open("a") as file:
        file.write('ore": 0.2}\n')
    assert steps.read(last=False) == []
    assert [(row.step, row.values) for row in steps.read(last=True)] == [(2, {"score": 0.2})]
    assert steps.read(last=True) == []


def test_what_fails_is_told_once_and_tried_again_from_the_file(tmp_path, monkeypatch):
    directory, kept, told = a_run(tmp_path / "run", 3), Kept(), []
    monkeypatch.setattr(follow, "MOST", 2)
    follower = followed(monkeypatch, directory, kept, told)
    kept.faults = [3, 4, 6]
    pauses = [follower.turn(last=False)]
    for step in (4, 5, 6, 7):
        take_step(directory, step)
        pauses.append(follower.turn(last=False))
    pauses.append(follower.turn(last=True))
    assert kept.logged == [1, 2, 3, 4, 5, 6, 7]
    assert pauses == [*follow.RETRIES[:2], 1.0, follow.RETRIES[2], 1.0, 1.0]
    assert kept.ends == [("done", {"after": {"score": 0.5}})]
    warning = "warning: W&B: ConnectionError: the network\\x1b[31m is down; the run goes on, and it is tried again"
    assert told == ["W&B: in memory", warning]
    assert json.loads((directory / FOLDER / "sent.json").read_text()) == {"tracker": "wandb", "step": 7}


def test_a_tracker_that_asks_nobody_goes_on_after_the_last_step_that_it_was_sent(tmp_path, monkeypatch):
    directory, told = a_run(tmp_path / "run", 5), []
    first, second = Kept(keeps=False), Kept(keeps=False)
    followed(monkeypatch, directory, first, told).turn(last=True)
    take_step(directory, 6)
    followed(monkeypatch, directory, second, told, saved=4).turn(last=True)
    assert (first.logged, second.logged) == ([1, 2, 3, 4, 5], [6])
    (run,) = second.opened
    assert (run.id, run.name, run.sent, run.saved, run.sweep) == ("an-id", "a name", 5, 4, "")
    (directory / FOLDER / "sent.json").write_text('{"tracker": "mlflow", "step": 6}')
    other = Kept(keeps=False)
    followed(monkeypatch, directory, other, told).turn(last=True)
    assert other.logged == [1, 2, 3, 4, 5, 6]  # what another tracker was sent says nothing


def test_a_job_of_a_sweep_is_told_of_its_sweep_and_of_the_settings_without_secrets(tmp_path, monkeypatch):
    directory, kept = a_run(tmp_path / "a-sweep" / "3", 1), Kept()
    (tmp_path / "a-sweep" / "command.json").write_text("{}")
    followed(monkeypatch, directory, kept, []).turn(last=True)
    assert kept.opened[0].sweep == "a-sweep"
    assert kept.opened[0].settings["algo"] == {"name": "sft", "token": "***"}


def test_settings_and_results_are_flat_where_a_tracker_knows_no_nesting():
    settings = {"algo": {"name": "ppo", "lr": 1e-5}, "seed": 1, "stop": None, "list": [1, 2], "none": {}, "yes": True}
    assert flat(settings) == {
        "algo.name": "ppo", "algo.lr": 1e-5, "seed": 1, "stop": "None", "list": "[1, 2]", "none": "{}", "yes": True,
    }  # fmt: skip
    result = {
        "after": {"score": 0.5, "score_interval": [0.4, 0.6]},
        "n": 3,
        "which": "last",
        "curve": [[1, 2]],
        "x": None,
    }
    assert numbers_of(result) == {
        "result/after/score": 0.5, "result/after/score_interval/low": 0.4, "result/after/score_interval/high": 0.6,
        "result/n": 3.0,
    }  # fmt: skip


@pytest.mark.parametrize("name", [*TRACKERS, "none"])
def test_a_missing_package_is_told_with_the_extra_and_a_folder_of_its_name_is_none(name, tmp_path, monkeypatch):
    (tmp_path / name).mkdir()  # W&B makes ./wandb where it is used
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    if name == "none":
        return check_installed(name)
    with pytest.raises(Failure, match=f"^tracker.name={name}: .* is not installed\n.*'rlnlp\\[{name}]'$") as failure:
        check_installed(name)
    assert failure.value.code == Exit.CONFIG
    assert [str(each) for each in faults({"tracker": replace(ASKED, name=name)})] == [str(failure.value)]
    (tmp_path / name / "__init__.py").touch()
    return check_installed(name)


def stored(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.slow
def test_a_run_and_its_resume_are_one_tracker_run_and_no_byte_is_another(tmp_path, monkeypatch):
    from support import runs  # torch, which nothing else here needs

    store = install(tmp_path / "site", monkeypatch)
    asked = runs.settings(runs.words("sft", tmp_path))
    plain = runs.run(asked, tmp_path / "plain")
    asked["tracker"] |= {"name": "wandb"}
    whole = runs.run(asked, tmp_path / "whole")
    assert runs.difference(runs.outcome(plain), runs.outcome(whole)) == []
    facts = json.loads((whole / "run.json").read_text())
    begun, *logged, finished = stored(store)
    metrics = stored(whole / "metrics.jsonl")
    assert [line["step"] for line in logged] == [row.pop("step") for row in metrics] == list(range(1, runs.STEPS + 1))
    assert all(row.items() <= line["row"].items() for row, line in zip(metrics, logged, strict=True))
    assert all(line["row"]["timing/seconds"] > 0 for line in logged)
    assert (begun["id"], begun["name"], begun["project"]) == (facts["id"], f"{tmp_path.name}/whole", "rlnlp")
    assert begun["config"]["algo"]["name"] == "sft"
    assert (finished["exit_code"], finished["summary"]) == (0, {"result": facts["result"]})
    assert "noise of the library" in (whole / FOLDER / "output.log").read_text()
    assert "W&B: http://wandb.test/run" in (whole / "train.log").read_text()

    again = runs.broken_off(whole, tmp_path / "again", 2)
    store.write_text("".join(json.dumps(line) + "\n" for line in [begun, *logged[:4]]))  # as the killed run left it
    (again / FOLDER / "sent.json").write_text('{"tracker": "wandb", "step": 3}')
    runs.go_on(again)
    assert runs.difference(runs.outcome(plain), runs.outcome(again)) == []
    lines = stored(store)
    assert [line["step"] for line in lines if line["kind"] == "log"] == list(range(1, runs.STEPS + 1))
    assert {line["id"] for line in lines if line["kind"] == "init"} == {facts["id"]}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["init exit", "log hang", "finish hang", "log raise"])
def test_nothing_of_a_run_waits_for_a_tracker_or_fails_with_it(fault, tmp_path, monkeypatch):
    store = install(tmp_path / "site", monkeypatch)
    Path(f"{store}.fault").write_text(fault)
    monkeypatch.setattr(beside, "LIMIT", 4.0 if "hang" in fault else 120.0)
    directory, told = a_run(tmp_path / "run", 3), []
    with beside.tracked(directory, "an-id", ASKED, 0, told.append, NEVER):
        until = time.monotonic() + 60
        while not (directory / FOLDER / "output.log").stat().st_size and time.monotonic() < until:
            time.sleep(0.05)  # until the library is there
    warnings = [line for line in told if line.startswith("warning: ")]
    assert len(warnings) == 1
    if "raise" in fault:
        assert "ConnectionError" in warnings[0]
        assert [line["step"] for line in stored(store) if line["kind"] == "log"] == [1, 2, 3]
    elif "exit" in fault:
        assert warnings[0].endswith("ended with exit 9: see tracker/output.log")
    else:
        assert warnings[0].endswith("in time; metrics.jsonl has all")


@pytest.mark.slow
def test_a_run_that_is_killed_hands_on_its_last_steps(tmp_path, monkeypatch):
    store = install(tmp_path / "site", monkeypatch)
    directory = a_run(tmp_path / "run", 3)
    (directory / "run.json").write_text('{"status": "running"}')
    (tmp_path / "killed.py").write_text(KILLED)
    subprocess.run([sys.executable, tmp_path / "killed.py", directory], check=False)
    until = time.monotonic() + 60
    while not (stored(store) and stored(store)[-1]["kind"] == "finish") and time.monotonic() < until:
        time.sleep(0.1)
    *_, last = lines = stored(store)
    assert [line["step"] for line in lines if line["kind"] == "log"] == [1, 2, 3]
    assert (last["kind"], last["exit_code"]) == ("finish", 1)
