"""Code of the user's and the run around it: a signal ends a run that it holds up, and what it forks is not the run."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from rlnlp.run import handlers, signals
from rlnlp.run.lock import owned
from support import runs
from support.children import Children
from support.small import ROOT

SOURCE = """
import threading
from pathlib import Path

calls = []

def good(completions):
    calls.append(1)
    if Path("{trap}").exists() and len(calls) > {calls}:
        Path("{trap}").with_suffix(".shut").touch()
        while True:
            try:
                threading.Event().wait()
            except BaseException:
                pass
    return [len(text) / 10 for text in completions]
"""


@dataclass(frozen=True)
class Quick:
    """Short times for a run in its own process."""

    def __call__(self, directory):
        """Set them."""
        signals.GRACE = 0.1
        signals.PATIENCE.update(dict.fromkeys(signals.PATIENCE, 0.1))


@pytest.fixture(scope="module")
def children(tmp_path_factory):
    return Children(tmp_path_factory.mktemp("user-code"))


@pytest.mark.slow
def test_a_sigterm_ends_a_run_whose_function_takes_no_notice_and_it_can_be_resumed(children, tmp_path):
    (tmp_path / "mine.py").write_text(SOURCE.format(trap=tmp_path / "trap", calls=5))
    plain = ["heldout.every=0", "heldout.size=0", "checkpoint.result=last", "checkpoint.keep_models=0"]
    asked = runs.settings(runs.words("reinforce", tmp_path, *plain))
    asked["reward"]["terms"] = {"good": {"fn": f"{tmp_path / 'mine.py'}:good"}}
    (tmp_path / "trap").touch()
    child, err = children.start(asked, tmp_path / "run", Quick())
    while not (tmp_path / "trap.shut").exists():
        assert children.status(child, 0.02) is None, err.read_text()
    os.kill(child.pid, signal.SIGTERM)
    ended = children.end(child, err)
    assert ended.code == 143, ended.err
    assert "a reward function did not end: the process ends without it" in ended.err
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (facts["status"], facts["exit_code"]) == ("interrupted", 143)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert 0 < len(lines) < runs.STEPS
    assert (tmp_path / "run" / "checkpoints" / f"step-{len(lines):08d}").is_dir()
    (tmp_path / "trap").unlink()
    runs.go_on(tmp_path / "run", f"reward.terms.good.fn={tmp_path / 'mine.py'}:good")
    assert runs.run(asked, tmp_path / "whole")
    assert runs.difference(runs.outcome(tmp_path / "run"), runs.outcome(tmp_path / "whole")) == []


@contextmanager
def forked(work):
    """A child that gives what ``work`` returns as its exit status, and then the status itself, in a list."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads in a process that forks
        pid = os.fork()
    if pid == 0:
        try:
            os._exit(work())
        finally:
            os._exit(99)
    status = []
    yield status
    status.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def test_a_process_that_is_forked_has_the_handlers_from_before_the_run():
    before = {number: signal.getsignal(number) for number in handlers.NUMBERS}

    def work():
        return int(any(signal.getsignal(number) != before[number] for number in before))

    with handlers.handled(lambda *_: None), handlers.handled(lambda *_: None):
        assert any(signal.getsignal(number) != before[number] for number in before)
        with forked(work) as status:
            pass
    assert status == [0]
    with forked(work) as status:
        pass
    assert status == [0]


def test_a_process_that_outlives_a_run_that_was_killed_does_not_keep_its_lock(tmp_path):
    (tmp_path / "run").mkdir()

    def outlives():
        (tmp_path / "begun").touch()
        while not (tmp_path / "done").exists():
            time.sleep(0.01)
        return 0

    def killed():
        with owned(tmp_path / "run"), forked(outlives):
            while not (tmp_path / "begun").exists():
                time.sleep(0.01)
            os._exit(0)

    try:
        with forked(killed) as status:
            pass
        with owned(tmp_path / "run"):
            pass
    finally:
        (tmp_path / "done").touch()
    assert status == [0]


LEFT = """
import threading, time
from rlnlp.cli.exits import leave_threads
threading.Thread(target=time.sleep, args=({seconds},)).start()
leave_threads({status})
print("waits for it", flush=True)
raise SystemExit({status})
"""


@pytest.mark.parametrize(("status", "seconds", "out"), [(143, 600, ""), (130, 600, ""), (7, 0.01, "waits for it\n")])
def test_threads_that_are_left_do_not_keep_a_process_that_a_signal_has_ended(status, seconds, out):
    code = LEFT.format(status=status, seconds=seconds)
    words, environment = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (status, out, "")
