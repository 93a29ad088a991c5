"""Functions in processes of their own: the values of one process, in order; errors are told; none outlives the run."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from rlnlp.errors import Failure
from rlnlp.rewards.call import Batch
from rlnlp.rewards.functions import load_functions
from rlnlp.rewards.surroundings import Surroundings
from rlnlp.rewards.workers import Setup, cuts, workers
from support.rewards import fails
from support.small import ROOT

SOURCE = """
import os, signal, time
from beside_worker import weight

def f(prompts, completions, topic, scale):
    assert len({*zip(prompts, topic)}) * 2 == len(prompts), "a group is split"
    return [None if "none" in text else weight * scale * len(text) / 3 for text in completions]

async def each_token(completion_ids):
    return [[1 / (1 + token) for token in ids] for ids in completion_ids]

def where(completions):
    return [float(os.getpid())] * len(completions)

def breaks(completions):
    return [1 / len(text) for text in completions]

def short(completions):
    return [0.0] * (len(completions) - 1)

def sleeps(completions):
    open(os.path.join(os.path.dirname(__file__), f"{os.getpid()}.begun"), "w").close()
    time.sleep(100)

def dies(completions):
    os.kill(os.getpid(), signal.SIGKILL)
"""
NAMES = ("f", "each_token", "where", "breaks", "short", "sleeps", "dies")
TEXTS = ["a", "bb", "none", "dddd", "eeeee", "f", "gg", "none"]
GROUPS = [4, 4, 2, 2, 7, 7, 1, 1]
LISTS = {
    "prompts": [f"p{row}" for row in GROUPS], "completions": TEXTS, "topic": [str(row) for row in GROUPS],
    "completion_ids": [list(range(len(text))) for text in TEXTS],
}  # fmt: skip
BATCH = Batch(LISTS, [len(text) for text in TEXTS], GROUPS)


def given(function):
    return Batch({word: v for word, v in LISTS.items() if function.callee.parameters.takes(word)}, BATCH.tokens, GROUPS)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine_in_workers.py").write_text(SOURCE)
    (folder / "beside_worker.py").write_text("weight = 0.1\n")
    return {name: f"{folder / 'mine_in_workers.py'}:{name}" for name in NAMES}


@pytest.fixture(scope="module")
def three(paths):
    with workers(3, Setup(paths, sys.path, 1, "medium")) as pool:
        yield pool.load()


def call(function, **args):
    return function.callee.call(given(function), args)


def test_values_are_those_of_one_process_to_the_last_bit_and_in_order(three, paths):
    alone = load_functions({name: paths[name] for name in ("f", "each_token")}, Surroundings().apart)
    for name, args in (("f", {"scale": 0.7}), ("each_token", {})):
        assert call(three[name], **args) == call(alone[name], **args)
        assert three[name].sha256 == alone[name].sha256
        assert three[name].callee.parameters == alone[name].callee.parameters


def test_a_batch_is_split_between_prompts_over_processes_that_stay(three):
    first, again = call(three["where"]), call(three["where"])
    assert first == again
    assert len(set(first)) == 3
    assert os.getpid() not in first
    assert all(first[i] == first[i + 1] for i in range(0, 8, 2)), "a group is in one process"


@pytest.mark.parametrize(
    ("prompts", "parts", "expected"),
    [
        ([0, 1, 2, 3], 2, [2]),
        ([0, 0, 0, 1, 1, 1], 2, [3]),
        ([0, 0, 0, 0, 1, 1], 2, [4]),
        ([0, 0, 0, 0], 3, [4, 4]),
        ([5, 5, 2, 2, 9, 9], 3, [2, 4]),
        ([0], 2, [1]),
        ([0, 1], 4, [1, 1, 1]),
    ],
)
def test_where_a_batch_is_cut(prompts, parts, expected):
    found = cuts(prompts, parts)
    assert found == expected
    assert found == sorted(found)


def test_an_error_is_told_as_in_one_process_and_the_traceback_is_its_cause(three, paths):
    batch = Batch({"completions": ["a", "b", "c", "d", "", "e"]}, [1] * 6, list(range(6)))
    alone = load_functions({"breaks": paths["breaks"]}, Surroundings().apart)["breaks"]
    message = fails(7, "division by zero", alone.callee.call, batch, {})
    with pytest.raises(Failure) as failure:
        three["breaks"].callee.call(batch, {})
    assert str(failure.value).split("\n")[0] == message.split("\n")[0]
    assert f"mine_in_workers.py:{SOURCE[: SOURCE.index('1 / len')].count(chr(10)) + 1}, given " in str(failure.value)
    assert "in breaks" in str(failure.value.__cause__)
    assert call(three["where"]), "the processes go on"


def test_a_number_of_a_response_is_that_in_the_whole_batch(three, paths):
    lists = {"completion_ids": [[0], [0], [0], [0], [0], [0, 0]]}
    message = fails(7, "returned 2", three["each_token"].callee.call, Batch(lists, [1] * 6, list(range(6))), {})
    assert "returned 2 numbers for the 1 token of completion 5" in message


def test_a_process_that_dies_is_exit_7_in_words(paths):
    with workers(2, Setup({"dies": paths["dies"]}, sys.path, 1, "medium")) as pool:
        message = fails(7, "reward term 'dies': its process ended", call, pool.load()["dies"])
    assert "killed by SIGKILL: memory may have run out" in message
    assert "reward.workers=0" in message


def test_a_file_that_fails_is_told_as_it_is_in_one_process(tmp_path):
    (tmp_path / "broken_here.py").write_text("1 / 0\n")
    path = {"t": f"{tmp_path / 'broken_here.py'}:f"}
    with workers(1, Setup(path, sys.path, 1, "medium")) as pool:
        message = fails(7, "ZeroDivisionError", pool.load)
    assert message == fails(7, "ZeroDivisionError", load_functions, path, Surroundings().apart)


def test_what_cannot_go_to_another_process_is_told(three):
    batch = Batch({"completions": [threading.Lock()]}, [1], [0])
    fails(7, "cannot be given its data in another process", three["where"].callee.call, batch, {})


CHILD = """
import sys
from rlnlp.rewards.call import Batch
from rlnlp.rewards.workers import Setup, workers
if __name__ == "__main__":
    with workers(2, Setup({{"t": {path!r}}}, sys.path, 1, "medium")) as pool:
        sleeps = pool.load()["t"]
        print(*(process.pid for process, _ in pool._workers), flush=True)
        sleeps.callee.call(Batch({{"completions": ["a", "b"]}}, [1, 1], [0, 1]), {{}})
"""


def alive(pid):
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_processes_end_with_their_parent_even_if_that_is_killed(paths):
    code = CHILD.format(path=paths["sleeps"])
    folder, environment = Path(paths["sleeps"].rpartition(":")[0]).parent, {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        while not all((folder / f"{pid}.begun").exists() for pid in pids):
            assert parent.poll() is None
            time.sleep(0.01)
        assert all(map(alive, pids))
        parent.send_signal(signal.SIGKILL)
    for _ in range(3000):
        if not any(map(alive, pids)):
            break
        time.sleep(0.01)
    assert not any(map(alive, pids))
