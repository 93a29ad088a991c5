"""Which process this is, what does not fit it, and the connections by which the processes know of each other."""

import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from rlnlp.commands.preflight import parse_run_config
from rlnlp.commands.processes import check_processes
from rlnlp.errors import Exit, Failure, Lost
from rlnlp.processes.launch import ALONE, Place, again, follows, place
from rlnlp.processes.lifeline import Leader, keep, send
from support import runs
from support.small import ROOT


@pytest.fixture
def started(monkeypatch):
    def start(**names: str) -> None:
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in names.items():
            monkeypatch.setenv(name, value)

    start()
    return start


def test_the_environment_tells_which_process_this_is_and_how_to_start_as_many_again(started):
    assert (place(), follows(), again("rlnlp resume a")) == (ALONE, False, "rlnlp resume a")
    started(RANK="3", WORLD_SIZE="4", LOCAL_RANK="1", LOCAL_WORLD_SIZE="2")
    assert (place(), follows()) == (Place(3, 4, 1, 2), True)
    assert again("rlnlp resume a") == "torchrun --nnodes 2 --nproc-per-node 2 -m rlnlp resume a"
    for wrong in ({"RANK": "x", "WORLD_SIZE": "2"}, {"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "1"}):
        started(**wrong)
        assert (place(), follows()) == (ALONE, False)


@pytest.mark.parametrize(
    ("algo", "change", "processes", "message"),
    [
        ("ppo", {}, "2", "2 processes were started, and device.parallel=none trains in one"),
        ("ppo", {"parallel": "ddp"}, None, "device.parallel=ddp is for several processes, and nothing has started"),
        (
            "rlhf",
            {"parallel": "fsdp"},
            "2",
            "device.parallel=fsdp is for reinforce, ppo, sft, reward-model, not for algo=rlhf\nuse device=ddp",
        ),
        (
            "rlhf",
            {"parallel": "ddp"},
            "5",
            "algo.reward_model.batch_size must be a multiple of the 5 processes, got 16",
        ),
        (
            "reward-model algo.frozen_trunk=true",
            {"parallel": "fsdp", "share_prompts": "never"},
            "2",
            "algo.frozen_trunk must be false with device.parallel=fsdp: a head is small, use device=ddp",
        ),
        ("ppo", {"parallel": "ddp", "name": "mps"}, "2", "device.name must be auto, cpu or cuda in several processes"),
        ("ppo", {"parallel": "fsdp"}, "2", "device.share_prompts must be never with device.parallel=fsdp"),
        ("ppo", {"parallel": "ddp"}, "5", "algo.batch_size must be a multiple of the 5 processes, got"),
    ],
)
def test_settings_that_do_not_fit_the_processes_are_refused(started, algo, change, processes, message):
    settings = runs.settings(f"algo={algo}".split())
    settings["device"] |= change
    config = parse_run_config(settings)
    started(**({"RANK": "0", "WORLD_SIZE": processes} if processes else {}))
    with pytest.raises(Failure) as failure:
        check_processes(config)
    assert failure.value.code == Exit.CONFIG
    assert str(failure.value).startswith(message)
    assert str(failure.value).count("\n") <= 2


def test_updates_must_come_out_even_too(started):
    settings = runs.settings(["algo=ppo"])
    settings["device"] |= {"parallel": "ddp"}
    settings["algo"] |= {"batch_size": 8, "num_generations": 1, "mini_batch_size": 2}
    config = parse_run_config(settings)
    started(RANK="0", WORLD_SIZE="4")
    with pytest.raises(Failure, match=r"algo.mini_batch_size must be a multiple of the 4 processes, got 2"):
        check_processes(config)
    check_processes(replace(config, algo=replace(config.algo, mini_batch_size=4)))


class Ended:
    """What an end of the lifeline does to its process, as a test sees it."""

    def __init__(self) -> None:
        self.interrupted, self.signals, self.abandoned = threading.Event(), [], threading.Event()
        self.relayed = threading.Event()

    def attach(self, leader: Leader) -> None:
        leader.attach(self.interrupted.set, self._relay, lambda error: self.abandoned.set())

    def _relay(self, number: int) -> None:
        self.signals.append(number)
        self.relayed.set()


@pytest.fixture
def leading():
    ours, theirs = socket.socketpair()
    leader, ended = Leader({1: keep(ours)}), Ended()
    ended.attach(leader)
    with ours, theirs:
        yield leader, theirs, ended
        leader.end(0)


def test_the_first_process_knows_at_once_when_another_is_gone(leading):
    leader, theirs, ended = leading
    theirs.close()
    assert ended.interrupted.wait(30)
    fault = leader.take()
    assert isinstance(fault, Lost)
    assert str(fault) == "process 1 of 2 is gone (killed, or out of memory)"
    assert leader.take() is None  # it is raised once


def test_an_error_of_another_process_has_its_exit_code_and_its_signals_are_passed_on(leading):
    leader, theirs, ended = leading
    send(theirs, {"signal": 15})
    assert ended.relayed.wait(30)
    assert ended.signals == [15]
    send(theirs, {"code": 9, "text": "out of memory"})
    assert ended.interrupted.wait(30)
    fault = leader.take()
    assert isinstance(fault, Failure)
    assert (fault.code, str(fault)) == (Exit.MEMORY, "process 1 of 2: out of memory")


def test_what_does_not_end_is_ended_and_what_is_done_is_no_loss(leading, monkeypatch):
    monkeypatch.setattr("rlnlp.processes.lifeline.GRACE", 0.01)
    _, theirs, ended = leading
    send(theirs, {"done": True})
    theirs.close()
    assert not ended.interrupted.wait(0.2)
    ours, theirs = socket.socketpair()
    with ours:
        ended.attach(Leader({1: keep(ours)}))
        theirs.close()
        assert ended.abandoned.wait(30)


FOLLOWER = """
import socket, sys, time
from rlnlp.processes.lifeline import Follower
end = Follower(socket.socket(fileno=int(sys.argv[1])), 1, 2, "rlnlp train")
end.advice = lambda: "step 3 is saved"
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        (b'{"end": 7}\n', 7, ""),
        (b"", 143, "rlnlp train: process 0 of 2 is gone (killed, or out of memory); step 3 is saved\n"),
        (b"nonsense\n", 143, "rlnlp train: process 0 of 2 is gone (killed, or out of memory); step 3 is saved\n"),
    ],
)
def test_another_process_ends_with_the_first_and_tells_only_what_that_one_cannot(said, status, told):
    ours, theirs = socket.socketpair()
    with theirs:
        follower = subprocess.Popen(
            [sys.executable, "-c", FOLLOWER, str(theirs.fileno())], pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert follower.stdout is not None
    assert follower.stdout.readline() == "ready\n"
    with ours:
        ours.sendall(said)
    assert follower.communicate(timeout=60)[1] == told
    assert follower.returncode == status
