"""SIGKILL at random moments, five times in a row at most: every run ends with the bytes of one that was left alone."""

import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import runs
from support.children import Children, chains
from support.small import ROOT, rlnlp

STORM = ("checkpoint.every=2", "checkpoint.keep=2")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("storm")


@pytest.fixture(scope="module")
def children(root):
    return Children(root)


def storm(algo, root, children, kills):
    """So many kills of runs of an algorithm, half of them in each of two chains of runs; what went wrong."""
    asked, folder = runs.settings(runs.words(algo, root, *STORM)), root / algo
    assert children.run(asked, folder / "whole").code == 0
    whole, wrong = runs.outcome(folder / "whole"), []

    def half(number, share):
        for directory, killed, ended in chains(children, asked, folder / str(number), share, seed=number):
            different = runs.difference(runs.outcome(directory), whole) if ended.code == 0 else [ended]
            wrong.extend([(str(directory), killed, different)] if different else [])
            shutil.rmtree(directory)
            yield killed

    with ThreadPoolExecutor(2) as pool:
        done = sum(pool.map(lambda number: sum(half(number, kills // 2)), (1, 2)))
    assert done == kills // 2 * 2
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("algo", runs.ALGORITHMS)
def test_three_hundred_kills_lose_nothing(algo, root, children):
    assert storm(algo, root / "many", children, 300 // len(runs.ALGORITHMS)) == []


@pytest.mark.nightly
@pytest.mark.parametrize("algo", runs.ALGORITHMS)
def test_two_thousand_kills_lose_nothing(algo, root, children):
    assert storm(algo, root / "all", children, -(-2000 // len(runs.ALGORITHMS))) == []


class Commands:
    """The real command, killed after random times from its start to its end."""

    def __init__(self, algo, root, seed):
        self.words = runs.words(algo, root, *STORM)
        self.root, self.chance = root, random.Random(seed)
        begun = time.monotonic()
        self.whole = self.finished("whole")
        self.length = time.monotonic() - begun

    def words_for(self, name):
        begun = (self.root / name / "config.yaml").exists()
        return ["resume", name] if begun else ["train", *self.words, f"hydra.run.dir={name}"]

    def finished(self, name):
        code, _, err = rlnlp(*self.words_for(name), cwd=self.root, timeout=300)
        assert code == 0, err
        return runs.outcome(self.root / name)

    def chain(self, name, kills):
        """What differs after so many kills."""
        for _ in range(kills):
            command = [sys.executable, "-m", "rlnlp", *self.words_for(name)]
            env = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
            with subprocess.Popen(
                command, cwd=self.root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process:
                try:
                    process.wait(self.chance.uniform(0.3, 1) * self.length)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
        return runs.difference(self.finished(name), self.whole)


def command_storm(root, kills):
    """So many kills of the real command, in chains of five, two at a time; what differs."""
    found = []
    for number, algo in enumerate(runs.ALGORITHMS):
        folder = root / f"real-{kills}-{algo}"
        folder.mkdir()
        commands, share = Commands(algo, folder, seed=kills), kills // len(runs.ALGORITHMS) + (number == 0)
        lengths = [5] * (share // 5) + [share % 5]
        with ThreadPoolExecutor(2) as pool:
            found += pool.map(commands.chain, [f"chain-{i}" for i in range(len(lengths))], lengths)
    return found


@pytest.mark.slow
def test_twenty_kills_of_the_real_command_lose_nothing(root):
    assert command_storm(root, 20) == [[]] * len(command_lengths(20))


@pytest.mark.nightly
def test_two_hundred_kills_of_the_real_command_lose_nothing(root):
    assert command_storm(root, 200) == [[]] * len(command_lengths(200))


def command_lengths(kills):
    shares = [kills // len(runs.ALGORITHMS) + (number == 0) for number in range(len(runs.ALGORITHMS))]
    return [length for share in shares for length in [*[5] * (share // 5), share % 5]]
