"""A disk that fails at any call, fills up, goes away or is shared: what was saved stands, and the run goes on."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from rlnlp.cli.composition import stamp
from rlnlp.errors import Failure
from rlnlp.run import disk
from rlnlp.run.jsonl import JsonlFile
from rlnlp.run.progress import Progress
from support import faults, runs
from support.children import Children
from support.small import ROOT

DIVERGING = ("algo.optimizer=adamw", "algo.lr_schedule=constant", "algo.learning_rate=2")
SHARED_MEMORY = Path("/dev/shm")  # there fsync costs nothing, and a killed process leaves what it would on a disk


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The directory of all runs here."""
    if not (SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)):
        yield tmp_path_factory.mktemp("storage")
        return
    root = SHARED_MEMORY / f"rlnlp-test-{os.getpid()}"
    root.mkdir()
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def children(root):
    return Children(root)


@pytest.fixture(scope="module")
def asked(root):
    """A run with three checkpoints, of which two stay."""
    return runs.settings(runs.words("sft", root, "algo.total_steps=3", "checkpoint.keep=2"))


@pytest.fixture(scope="module")
def whole(root, asked, children):
    """What it comes to, and every call of it that makes something last."""
    log = root / "calls"
    assert children.run(asked, root / "whole", faults.Fault("none", -1, str(log))).code == 0
    return runs.outcome(root / "whole"), log.read_text().splitlines()


def points(calls):
    """Each call with each way to fail that it has."""
    kinds = (faults.KILL, faults.ENOSPC, faults.EIO)
    found = [(kind, number) for number in range(len(calls)) for kind in kinds]
    return found + [(faults.SHORT, n) for n, call in enumerate(calls) if call.startswith("write ")]


def check(points, whole, root, asked, children):
    """Fail at each point, take the run up again: it must end as if nothing had happened. Two runs at a time."""
    expected, calls = whole

    def judge(point):
        kind, number = point
        directory, what = root / f"{kind}-{number}", f"{kind} at call {number}: {calls[number]}"
        first = children.run(asked, directory, faults.Fault(kind, number, ""))
        assert first.code in ((0, 137) if kind == faults.KILL else (0, 5)), f"{what}: {first}"
        if first.code == 5:
            assert "failed: " in first.err, what
            assert "free disk space or fix the disk" in first.err, what
        again = children.run(asked, directory)
        assert again.code == 0, f"{what}: {again}"
        assert runs.difference(runs.outcome(directory), expected) == [], what
        shutil.rmtree(directory)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(judge, points))


def test_a_run_survives_a_failure_at_any_call_that_makes_something_last(whole, root, asked, children):
    every = points(whole[1])
    assert len(every) > 200
    check(random.Random(0).sample(every, 4), whole, root, asked, children)


@pytest.mark.slow
def test_a_run_survives_a_failure_at_each_call_that_makes_something_last(whole, root, asked, children):
    check(points(whole[1]), whole, root, asked, children)


def test_the_lines_are_on_the_disk_before_the_checkpoint_that_counts_them(whole):
    calls = [call.partition(str(SHARED_MEMORY))[0] + Path(call).name for call in whole[1]]
    renames = [
        n for n, call in enumerate(whole[1]) if call.startswith("rename ") and re.search(r"/checkpoints/\.tmp-\d", call)
    ]
    assert len(renames) == 3
    for before, rename in zip([0, *renames], renames, strict=False):
        assert {f"fsync {name}.jsonl" for name in ("metrics", "samples", "timing")} <= set(calls[before:rename])


def test_a_directory_that_vanishes_is_exit_5_and_is_not_made_again(root, asked, children):
    directory = root / "vanishing"
    ended = children.run(asked, directory, Vanishing())
    assert ended.code == 5
    assert "saving step 1 in " in ended.err
    assert f"continue with: rlnlp resume {directory}" in ended.err
    assert not directory.exists()


class Vanishing:
    """The run directory is removed when the first checkpoint is written."""

    def __call__(self, directory):
        """Arm it in this process."""
        from rlnlp.run import checkpoint

        real = checkpoint.check_free_space

        def gone(folder, needed):
            real(folder, needed)
            shutil.rmtree(directory)

        checkpoint.check_free_space = gone


def test_a_full_disk_is_reported_before_anything_is_written_with_what_is_needed(tmp_path):
    huge = shutil.disk_usage(tmp_path).free
    with pytest.raises(OSError, match=r"No space left on device, \d+\.\d [MG]iB needed"):
        disk.check_free_space(tmp_path, huge)
    disk.check_free_space(tmp_path, 1000)
    failure = disk.storage_failure("saving step 3", tmp_path, OSError(28, "No space left on device"))
    assert isinstance(failure, Failure)
    assert "iB free)\nfree disk space or fix the disk" in str(failure)


def test_a_line_that_does_not_fit_leaves_none_of_itself(tmp_path, monkeypatch):
    journal = JsonlFile(tmp_path / "x.jsonl")
    journal.append({"step": 1})
    mark, real = journal.mark(), os.write
    takes = iter([5])

    def short(handle, data):
        for count in takes:
            return real(handle, data[:count])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space left"):
            journal.append({"step": 2})
    assert journal.mark() == mark
    assert (tmp_path / "x.jsonl").read_text() == '{"step": 1}\n'
    journal.append({"step": 2})
    assert JsonlFile(tmp_path / "x.jsonl").rows() == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_lines_after_a_step_and_a_torn_one_are_removed(cut, tmp_path):
    path = tmp_path / "x.jsonl"
    text = "".join(json.dumps({"step": step}) + "\n" for step in (1, 2, 2, 3))
    path.write_text(text[: len(text) - cut])
    journal = JsonlFile(path)
    journal.truncate_after(2)
    left = text[: len(text) - cut]
    assert path.read_text() == left[: min(36, left.rfind("\n") + 1)]
    assert journal.mark() == JsonlFile(path).mark()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    disk.replace(path, "old")

    def fail(*_):
        raise OSError(5, "Input/output error")

    for call in ("write", "fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            with pytest.raises(OSError, match="Input/output"):
                disk.replace(path, "new")
        assert path.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_only_leftovers_of_ours_are_removed(tmp_path, root, asked, children):
    directory = root / "leftovers"
    assert children.run(asked, directory, faults.Fault(faults.KILL, 60, "")).code == 137
    theirs = [
        "notes.txt",
        ".tmp-mine",
        ".run.json-copy",
        "checkpoints/.tmp-1",
        "checkpoints/step-7",
        "checkpoints/best",
    ]
    ours = [".run.json-0123abcd", ".config.yaml-0123abcd", "checkpoints/.tmp-2-77-0123abcd/x"]
    ours += ["checkpoints/.tmp-old-step-00000001-0123abcd/x", "checkpoints/.tmp-del-step-00000001-0123abcd/x"]
    for name in theirs + ours:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(name)
    (directory / "checkpoints" / "step-00000099").mkdir()
    (directory / "checkpoints" / "step-00000099" / "mine.txt").write_text("mine")
    assert children.run(asked, directory).code == 0
    assert [name for name in theirs if not (directory / name).exists()] == []
    assert [name for name in ours if (directory / name).exists()] == []
    assert (directory / "checkpoints" / "step-00000099" / "mine.txt").read_text() == "mine"


def test_two_valid_checkpoints_and_the_best_stay(root, children):
    asked = runs.settings(runs.words("sft", root, "checkpoint.keep=2", "heldout.patience=0", *DIVERGING))
    directory = root / "best"
    assert children.run(asked, directory).code == 0
    losses = [json.loads(line)["heldout/loss"] for line in (directory / "metrics.jsonl").read_text().splitlines()]
    best = losses.index(min(losses)) + 1
    assert best < runs.STEPS - 1, losses
    kept = {int(p.name.partition("-")[2]) for p in (directory / "checkpoints").iterdir()}
    assert kept == {best, runs.STEPS - 1, runs.STEPS}


def test_of_many_that_want_one_directory_one_has_it(root, asked, children):
    started = [children.start(asked, root / "one") for _ in range(20)]
    ended = [children.end(*each) for each in started]
    codes = [each.code for each in ended]
    refused = [each.err for each in ended if each.code == 6]
    assert codes.count(0) >= 1
    assert len(refused) + codes.count(0) == 20
    assert all("in use by another process" in err or "holds a run already" in err for err in refused)


def test_fifty_starts_in_one_instant_get_fifty_directories(monkeypatch):
    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 1, 1, tzinfo=tz)

    monkeypatch.setattr("rlnlp.cli.composition.datetime", Frozen)
    assert len({stamp() for _ in range(50)}) == 50


def test_the_lock_names_its_owner(tmp_path):
    from rlnlp.run.lock import owned

    with owned(tmp_path), pytest.raises(Failure, match=rf'"pid": {os.getpid()}'), owned(tmp_path):
        pass
    with owned(tmp_path):
        pass


def test_a_progress_without_checkpoints_has_nothing_to_go_back_to(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    progress = Progress(tmp_path, keep=1)
    progress.save_last_step()
    assert (progress.done, progress.saved) == (0, 0)
    progress.close()


SMALL_DISK = """
set -u
mount -t tmpfs -o size=$3k tmpfs "$1"
cd "$1"
$2 train $4 hydra.run.dir=run > /dev/null 2> "$5"; echo "first $?"
mount -o remount,size=64m "$1"
then="resume run"; [ -e run/config.yaml ] || then="train $4 hydra.run.dir=run"
$2 $then > /dev/null 2>> "$5"; echo "then $?"
mount -o remount,ro "$1"
$2 train $4 hydra.run.dir=other > /dev/null 2>> "$5"; echo "read-only $?"
cp -r run "$5.run"
"""


def small_disks(sizes, whole, tmp_path):
    """Exit codes of a run on a disk of each size in KiB, then of its resume with room, then on a read-only disk."""
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces of the user's own here")
    model = tmp_path / "given"
    words = " ".join(runs.words("sft", model, "algo.total_steps=3", "checkpoint.keep=2"))
    for size in sizes:
        disk, log = tmp_path / f"disk-{size}", tmp_path / f"log-{size}"
        disk.mkdir()
        command = [
            "unshare",
            "-Urm",
            "bash",
            "-c",
            SMALL_DISK,
            "-",
            disk,
            f"{sys.executable} -m rlnlp",
            size,
            words,
            log,
        ]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run([str(w) for w in command], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        yield size, dict(line.split() for line in done.stdout.splitlines()), log.read_text(), Path(f"{log}.run")


def check_small_disks(sizes, whole, tmp_path):
    (tmp_path / "given").mkdir()
    full = 0
    for size, codes, err, directory in small_disks(sizes, whole, tmp_path):
        assert codes["first"] in ("0", "5"), f"{size}: {err}"
        full += codes["first"] == "5"
        assert (codes["then"], codes["read-only"]) == ("0", "5"), f"{size}: {err}"
        if codes["first"] == "5":
            assert "No space left" in err
        assert runs.difference(runs.outcome(directory), whole[0]) == []
    assert full


@pytest.mark.slow
def test_a_run_on_a_full_disk_resumes_when_there_is_space(whole, tmp_path):
    check_small_disks((1200, 1500, 1900), whole, tmp_path)


@pytest.mark.nightly
def test_runs_on_twenty_disks(whole, tmp_path):
    check_small_disks(range(100, 2500, 120), whole, tmp_path)
