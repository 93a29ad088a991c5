"""Signals end a run after its step, or at once, with its last whole step saved and the command that resumes it."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from rlnlp.errors import Stopped
from rlnlp.run import signals
from support import runs
from support.children import Children
from support.small import ROOT

NAMES = {"SIGTERM": 143, "SIGINT": 130, "SIGHUP": 129}
AT = 5  # the step in which the signal comes


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("signals")


@pytest.fixture(scope="module")
def children(root):
    return Children(root)


@pytest.fixture(scope="module")
def asked(root):
    """The settings of a run that samples, scores, updates, measures and saves."""
    return runs.settings(runs.words("reinforce", root, "heldout.every=1", "checkpoint.every=3"))


@pytest.fixture(scope="module")
def whole(root, asked, children):
    """What a run that nobody stops comes to."""
    assert children.run(asked, root / "whole").code == 0
    return runs.outcome(root / "whole")


@dataclass(frozen=True)
class During:
    """A signal to itself when ``function`` of ``module`` is called in step ``AT``."""

    module: str
    function: str
    name: str
    times: int = 1
    step: int = AT
    hangs: bool = False  # until it is interrupted
    patience: float | None = None  # seconds for each signal, in place of the real ones
    fails: bool = False  # with an error of its own when it is interrupted
    dropped: bool = False  # it comes in a destructor, whose errors Python drops

    def __call__(self, directory):
        """Arm it in this process."""
        module = sys.modules[self.module]
        real, left = getattr(module, self.function), [self.times]
        if self.patience is not None:
            signals.PATIENCE.update(dict.fromkeys(signals.PATIENCE, self.patience))

        def call(*args, **kwargs):
            path = directory / "metrics.jsonl"
            if left[0] and path.exists() and path.read_text().count("\n") >= self.step - 1:
                left[0] -= 1
                try:
                    if self.dropped:
                        Destroyed(getattr(signal, self.name))
                    else:
                        os.kill(os.getpid(), getattr(signal, self.name))
                    time.sleep(20 if self.hangs and not left[0] else 0)
                finally:
                    assert not self.fails, "half done"
            return real(*args, **kwargs)

        setattr(module, self.function, call)


@dataclass
class Destroyed:
    """What is left of it at once is a signal in its destructor."""

    number: int

    def __del__(self):
        os.kill(os.getpid(), self.number)
        time.sleep(0)  # where the signal is obeyed at the latest


PHASES = {
    "sampling": ("rlnlp.rollout.sampling", "inverse_cdf"),
    "reward": ("rlnlp.rewards.terms", "vetoed_sum"),
    "update": ("rlnlp.algos.reinforce", "policy_gradient"),
    "descent": ("rlnlp.algos.reinforce", "rollout_metrics"),
    "saving": ("rlnlp.run.checkpoint", "save_file"),
    "evaluating": ("rlnlp.evaluate.measure", "Measurement"),
}


SOME = {
    ("sampling", "SIGTERM"), ("descent", "SIGTERM"), ("saving", "SIGTERM"), ("evaluating", "SIGINT"),
    ("update", "SIGHUP"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("phase", "name"),
    [
        pytest.param(phase, name, marks=[] if (phase, name) in SOME else pytest.mark.slow)
        for phase in PHASES
        for name in NAMES
    ],
)
def test_the_step_is_finished_and_saved_in_every_phase_and_the_run_resumes_from_there(
    phase, name, root, asked, children, whole
):
    directory = root / f"{phase}-{name}"
    ended = children.run(asked, directory, During(*PHASES[phase], name))
    saved = check_stopped(directory, ended, name)
    assert saved == (AT - 1 if phase == "saving" else AT)  # what was measured in the step before is saved
    again = "Ctrl-C again" if name == "SIGINT" else "a second signal"
    said = rf"finishing step {AT} \(about \d+ s\), then saving; {again} stops at once\n"
    assert bool(re.search(said, ended.err)) == (phase != "saving")
    check_resumed(directory, children, asked, whole)


def check_stopped(directory, ended, name):
    """A signal has ended the run in good order; the last step that is saved."""
    assert ended.code == NAMES[name], ended.err
    assert f"\n  continue with: rlnlp resume {directory}\n" in ended.err
    facts = json.loads((directory / "run.json").read_text())
    assert (facts["status"], facts["exit_code"]) == ("interrupted", NAMES[name])
    saved = max(int(p.name.partition("-")[2]) for p in (directory / "checkpoints").iterdir())
    assert re.search(rf"stopped by {name} after step \d; step {saved} is saved\n", ended.err)
    return saved


def check_resumed(directory, children, asked, whole):
    """The run goes on and ends with the bytes of one that nobody stopped."""
    assert children.run(asked, directory).code == 0
    assert [n for n in runs.difference(runs.outcome(directory), whole) if "checkpoints" not in n] == []


AT_ONCE = {"descent": 3, "evaluating": 3}  # after the update only a save can be gone back to


@pytest.mark.parametrize(
    ("phase", "name"),
    [
        pytest.param(phase, name, marks=[] if (phase, name) in SOME else pytest.mark.slow)
        for phase in PHASES
        for name in NAMES
        if phase != "saving"
    ],
)
def test_a_step_that_takes_too_long_is_not_finished(phase, name, root, asked, children, whole):
    directory = root / f"long-{phase}-{name}"
    ended = children.run(asked, directory, During(*PHASES[phase], name, patience=0))
    assert check_stopped(directory, ended, name) == AT_ONCE.get(phase, AT - 1)
    assert "finishing" not in ended.err
    check_resumed(directory, children, asked, whole)


@pytest.mark.parametrize("name", NAMES)
def test_a_second_signal_in_the_step_stops_at_once_in_good_order(name, root, asked, children, whole):
    directory = root / f"second-{name}"
    ended = children.run(asked, directory, During(*PHASES["sampling"], name, times=2))
    assert check_stopped(directory, ended, name) == AT - 1
    check_resumed(directory, children, asked, whole)


def test_a_step_that_hangs_after_all_is_left_when_the_time_is_over(root, asked, children, whole):
    directory = root / "hangs"
    ended = children.run(asked, directory, During(*PHASES["reward"], "SIGTERM", hangs=True, patience=0.4))
    assert check_stopped(directory, ended, "SIGTERM") == AT - 1
    assert f"SIGTERM: finishing step {AT} " in ended.err
    check_resumed(directory, children, asked, whole)


def test_the_first_step_is_finished_by_the_time_of_the_trial_step_or_of_the_steps_before_a_resume(root, children):
    asked = runs.settings(runs.words("ppo", root))
    directory = root / "first"
    in_step = ("rlnlp.algos.ppo", "rollout_metrics", "SIGINT")
    assert check_stopped(directory, children.run(asked, directory, During(*in_step, step=1)), "SIGINT") == 1
    assert check_stopped(directory, children.run(asked, directory, During(*in_step, step=2)), "SIGINT") == 2


@pytest.fixture
def clock(monkeypatch):
    """The present time, in a list, for steps that take what the test says."""
    now = [0.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("earlier", "estimate", "taken", "rest"),
    [
        ([], None, 1, None), ([], 9, 2, 7), ([2, 40, 4], 99, 1, 3), ([1, 1, 1, 8, 8, 8, 8, 8], None, 2, 6),
        ([3], None, 3, 3), ([3], None, 50, 50),
    ],
)  # fmt: skip
def test_the_rest_of_a_step_is_known_from_recent_steps_or_an_estimate(earlier, estimate, taken, rest, clock):
    of_run = signals.Signals(lambda text: None, lambda number: None)
    of_run.estimate = estimate
    of_run.remember(earlier)
    assert of_run._rest_of_step() is None, "outside a step nothing is finished"
    of_run.begin_step(1)
    clock[0] = float(taken)
    assert of_run._rest_of_step() == rest
    of_run.end_step()
    assert of_run._rest_of_step() is None


@pytest.mark.parametrize(("name", "longest"), [("SIGINT", 30), ("SIGTERM", 10), ("SIGHUP", 10)])
def test_how_long_a_step_may_go_on(name, longest, clock):
    number, said = getattr(signal, name), []
    for rest, finished in ((longest, True), (longest + 1, False)):
        with signals.Signals(said.append, lambda number: None) as of_run:
            of_run.remember([rest])
            of_run.begin_step(7)
            if finished:
                os.kill(os.getpid(), number)
                with pytest.raises(Stopped), of_run.deferred():
                    of_run.end_step()
            else:
                with pytest.raises(Stopped):
                    os.kill(os.getpid(), number)
    assert len(said) == 1
    assert f"finishing step 7 (about {longest} s)" in said[0]


def test_a_reward_that_swallows_the_signal_delays_it_to_the_end_of_the_step(root, children, whole):
    (root / "deaf.py").write_text(DEAF)
    term = f"+reward.terms.own={{fn: {root}/deaf.py:kind, weight: 0.0}}"
    asked = runs.settings(runs.words("reinforce", root, term))
    directory = root / "deaf"
    ended = children.run(asked, directory)
    assert ended.code == 143, ended.err
    assert "after step 1; step 1 is saved" in ended.err


DEAF = """
import os, signal
def kind(completions):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException:
        pass
    return [0.0] * len(completions)
"""


@pytest.mark.parametrize(("phase", "name"), [("sampling", "SIGTERM"), ("evaluating", "SIGINT"), ("reward", "SIGHUP")])
def test_an_error_that_code_raises_because_it_was_interrupted_does_not_take_the_place_of_the_signal(
    phase, name, root, asked, children, whole
):
    directory = root / f"fails-{phase}"
    ended = children.run(asked, directory, During(*PHASES[phase], name, patience=0, fails=True))
    assert check_stopped(directory, ended, name) == AT_ONCE.get(phase, AT - 1)
    assert "half done" not in ended.err
    check_resumed(directory, children, asked, whole)


@pytest.mark.parametrize("phase", ["sampling", "evaluating"])
def test_a_signal_that_python_drops_in_a_destructor_is_raised_again(phase, root, asked, children, whole):
    directory = root / f"dropped-{phase}"
    ended = children.run(asked, directory, During(*PHASES[phase], "SIGINT", patience=0, hangs=True, dropped=True))
    assert check_stopped(directory, ended, "SIGINT") == AT_ONCE.get(phase, AT - 1)
    assert "Traceback" not in ended.err
    check_resumed(directory, children, asked, whole)


def test_nor_does_an_error_of_a_reward_function(root, children):
    (root / "sulks.py").write_text(SULKS)
    term = f"+reward.terms.own={{fn: {root}/sulks.py:kind, weight: 0.0}}"
    ended = children.run(runs.settings(runs.words("reinforce", root, term)), root / "sulks")
    assert ended.code == 143, ended.err
    assert "stopped by SIGTERM after step 0" in ended.err


SULKS = """
import os, signal
def kind(completions):
    try:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
    except BaseException:
        raise ValueError("not in this mood")
    return [0.0] * len(completions)
"""


def test_a_second_interrupt_ends_at_once_and_the_last_checkpoint_is_valid(root, asked, children, whole):
    directory = root / "twice"
    ended = children.run(asked, directory, During(*PHASES["saving"], "SIGINT", times=2))
    assert ended.code == 130
    assert "stopped by" not in ended.err
    check_resumed(directory, children, asked, whole)


def test_ignored_signals_stay_ignored(root, asked, children, whole):
    directory = root / "nohup"
    ended = children.run(asked, directory, Ignoring())
    assert ended.code == 0, ended.err
    assert runs.difference(runs.outcome(directory), whole) == []


class Ignoring:
    """As under nohup: SIGHUP is ignored from the start, and comes in a step."""

    def __call__(self, directory):
        """Arm it in this process."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        During(*PHASES["reward"], "SIGHUP", times=100)(directory)


def stopped_at_random(children, asked, root, count, seed=0):
    """Runs that get a random signal at a random moment, and are taken up again: what each came to."""
    chance = random.Random(seed)
    begun = time.monotonic()
    assert children.run(asked, root / f"timed-{seed}").code == 0
    length = time.monotonic() - begun
    for number in range(count):
        directory = root / f"random-{seed}-{number}"
        name = chance.choice(sorted(NAMES))
        ended = children.killed(asked, directory, chance.uniform(0.1, 1) * length, getattr(signal, name))
        yield name, ended, directory


def check_random_stops(children, asked, root, whole, count):
    obeyed = 0
    for name, ended, directory in stopped_at_random(children, asked, root, count):
        if (directory / "train.log").exists() and ended.code not in (0, -getattr(signal, name)):
            assert ended.code == NAMES[name], ended.err
            assert "Traceback" not in ended.err
            obeyed += 1
        assert children.run(asked, directory).code == 0
        assert [n for n in runs.difference(runs.outcome(directory), whole) if "checkpoints" not in n] == []
        shutil.rmtree(directory)
    return obeyed


@pytest.mark.slow
def test_signals_at_random_moments(root, asked, children, whole):
    assert check_random_stops(children, asked, root, whole, 12) > 3


@pytest.mark.nightly
def test_three_hundred_signals_at_random_moments(root, asked, children, whole):
    assert check_random_stops(children, asked, root, whole, 300) > 100


@pytest.mark.slow
def test_the_real_command_obeys_and_prints_how_to_resume(root, asked, whole):
    words = runs.words("reinforce", root, "heldout.every=1", "checkpoint.every=3")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "rlnlp", "train", *words, "algo.total_steps=5000", "hydra.run.dir=real"]
    with subprocess.Popen(command, cwd=root, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        for line in process.stderr:
            if line.startswith(b"step 1/"):
                break
        process.send_signal(signal.SIGTERM)
        err = process.stderr.read().decode()
    assert process.returncode == 143, err
    assert err.splitlines()[-2].startswith("rlnlp train: stopped by SIGTERM after step ")
    assert err.splitlines()[-1] == "  continue with: rlnlp resume real"
