"""A sweep in which jobs fail in every way, is stopped, and is run again: only what is missing is done."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from support.small import ROOT, rlnlp, write_prompts

FAILING = """
import os
import re
import resource

import torch

def f(completions, how):
    if how == "fine" or os.path.exists("mended"):
        return [0.0] * len(completions)
    if how == "raise":
        raise ValueError("no")
    if how == "exit":
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), 9)
    if how == "memory":
        raise torch.OutOfMemoryError("no memory")
    return [float("nan")] * len(completions)
"""
STATUS = {"raise": 7, "exit": 3, "kill": 137, "memory": 7, "nan": 7, "fine": 0}


@pytest.fixture(scope="module")
def place(model_dir, tmp_path_factory):
    """A folder with a reward function that fails as it is told, and prompts."""
    place = tmp_path_factory.mktemp("sweeps")
    (place / "failing.py").write_text(FAILING)
    write_prompts(place / "p.jsonl", 20)
    return place


def words(model_dir, *more):
    return [
        "reinforce", f"model.path={model_dir}", "data.prompts=p.jsonl", "algo.total_steps=1", "algo.batch_size=2",
        "sampler.max_new_tokens=4", "heldout.size=0", "device=cpu", "-m", *more,
    ]  # fmt: skip


def table(place, sweep):
    return [(job["exit_code"], job["status"]) for job in json.loads((place / sweep / "sweep.json").read_text())]


def started(place, sweep):
    return {p.parent.name: json.loads(p.read_text())["started"] for p in (place / sweep).glob("*/run.json")}


def check_sweep(place, model_dir, ways, seeds):
    """Every way for every seed, failing where it says so; then the same command, when what failed is mended."""
    (place / "mended").unlink(missing_ok=True)
    sweep = f"of-{len(ways) * seeds}"
    command = words(model_dir, f"seed={','.join(map(str, range(seeds)))}", f"hydra.sweep.dir={sweep}")
    term = f"+reward.terms.own.args.how={','.join(ways)}"
    command += ["+reward.terms.own={fn: failing.py:f, weight: 0.0}", term]
    code, _, err = rlnlp(*command, cwd=place, timeout=600)
    assert code == 10, err
    expected = [STATUS[way] for _ in range(seeds) for way in ways]
    assert [status for status, _ in table(place, sweep)] == expected
    assert [word for _, word in table(place, sweep)] == ["failed" if status else "done" for status in expected]
    named = [line for line in err.splitlines() if line.startswith("job ") and " failed with exit " in line]
    assert len(named) == sum(map(bool, expected))
    before = started(place, sweep)
    (place / "mended").touch()
    code, _, err = rlnlp(*command, cwd=place, timeout=600)
    assert code == 0, err
    assert err.count("\n  complete already") == expected.count(0)
    assert [status for status, _ in table(place, sweep)] == [0] * len(expected)
    assert started(place, sweep) == before, "a run that had begun goes on, and is not started again"
    assert not (place / sweep / "multirun.yaml").exists()


@pytest.mark.slow
def test_of_twenty_jobs_with_five_kinds_of_failure_the_same_command_does_only_what_is_missing(place, model_dir):
    check_sweep(place, model_dir, ["fine", "raise", "exit", "kill", "memory", "nan", "fine", "fine", "fine", "fine"], 2)


@pytest.mark.slow
def test_a_sweep_of_other_settings_in_the_same_directory_is_refused_and_changes_no_file_of_it(place, model_dir):
    command = words(model_dir, "hydra.sweep.dir=other", "seed=1")
    assert rlnlp(*command, cwd=place)[0] == 0
    before = {path: path.read_bytes() for path in (place / "other").rglob("*") if path.is_file()}
    code, _, err = rlnlp(*words(model_dir, "hydra.sweep.dir=other", "seed=2,1"), cwd=place)
    assert code == 6
    assert "job 0 (seed=2): other/0 holds a run of other settings (seed 1)\n" in err
    assert {path: path.read_bytes() for path in (place / "other").rglob("*") if path.is_file()} == before
    assert table(place, "other") == [(0, "done")]


@contextmanager
def begun(place, command, steps):
    """The real command in a process of its own, once its first job has done so many steps."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, "-m", "rlnlp", *command]
    with subprocess.Popen(
        words, cwd=place, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        (name,) = (word.partition("=")[2] for word in command if word.startswith("hydra.sweep.dir="))
        path = place / name / "0" / "metrics.jsonl"
        while process.poll() is None and not (path.exists() and path.read_text().count("\n") >= steps):
            time.sleep(0.05)
        yield process


def check_stopped(place, sweep, err, name, code):
    """A signal has stopped the first job of a sweep in good order, and the second was not begun."""
    lines = err.splitlines()
    assert re.search(rf"rlnlp reinforce: stopped by {name} after step \d+; step \d+ is saved$", err, re.MULTILINE)
    assert lines[-2] == f"rlnlp reinforce: stopped by {name}"
    assert lines[-1] == f"  to do what is missing: rlnlp resume {sweep}"
    assert not (place / sweep / "1").exists()
    facts = json.loads((place / sweep / "0" / "run.json").read_text())
    assert (facts["status"], facts["exit_code"]) == ("interrupted", code)


@pytest.mark.slow
def test_a_signal_stops_the_job_and_the_sweep_and_says_how_to_go_on(place, model_dir):
    (place / "mended").touch()
    command = words(model_dir, "hydra.sweep.dir=stopped", "seed=1,2", "algo.total_steps=3000")
    with begun(place, command, 2) as process:
        process.send_signal(signal.SIGTERM)
        err = process.stderr.read()
    assert process.returncode == 143, err
    assert re.search(r"SIGTERM: finishing step \d+ \(about \d+ s\), then saving; a second signal stops at once", err)
    check_stopped(place, "stopped", err, "SIGTERM", 143)


HANGING = """
import pathlib, time
def f(completions):
    if pathlib.Path("hang").exists():
        pathlib.Path("hanging").touch()
        time.sleep(100)
    return [0.0] * len(completions)
"""


@pytest.mark.slow
def test_a_second_interrupt_reaches_the_job_too(place, model_dir):
    (place / "hanging.py").write_text(HANGING)
    term = "+reward.terms.own={fn: hanging.py:f, weight: 0.0}"
    command = words(model_dir, "hydra.sweep.dir=twice", "seed=1,2", "algo.total_steps=3000", term)
    with begun(place, command, 2) as process:
        (place / "hang").touch()
        while process.poll() is None and not (place / "hanging").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        first = ""
        while "finishing step" not in first:
            first += process.stderr.readline() or pytest.fail(first)
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
    assert process.returncode == 130, err
    check_stopped(place, "twice", err, "SIGINT", 130)


@pytest.mark.slow
def test_a_secret_stands_in_no_file_of_a_run_or_a_sweep(place, model_dir, tmp_path):
    (tmp_path / "keyed.py").write_text("def f(completions, api_key, place):\n    return [0.0] * len(completions)\n")
    write_prompts(tmp_path / "p.jsonl", 20)
    term = "'+reward.terms.own={fn: keyed.py:f, args: {api_key: CANARY1, place: \"${oc.env:PLACE}\"}}'".strip("'")
    command = words(model_dir, term, "seed=1")
    code, out, err = rlnlp(*command, cwd=tmp_path, env={"PLACE": "CANARY2"})
    assert code == 0, err
    assert "CANARY" not in out + err
    held = [p for p in tmp_path.rglob("*") if p.is_file() and b"CANARY" in p.read_bytes()]
    assert held == []
    (run,) = tmp_path.glob("outputs/sweeps/*/0")
    (run / "run.json").unlink()
    code, _, err = rlnlp("resume", run, "reward.terms.own.fn=keyed.py:f", cwd=tmp_path)
    assert code == 6
    assert "reward.terms.own.args.api_key=... reward.terms.own.args.place=..." in err
