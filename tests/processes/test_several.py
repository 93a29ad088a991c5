"""Whole runs of two processes: the curve of one, each other's checkpoints, one message when they end."""

import itertools
import json
import math
import shutil
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from rlnlp.feedback.store import Store
from rlnlp.run.checksums import name_of
from support import runs, several, small

pytestmark = pytest.mark.slow
MORE = ("algo.learning_rate=1e-3", "heldout.size=3", "heldout.every=2", "algo.lr_schedule=constant")
REWARD = """
def apart(completions, prompts):
    return [None if len(text) % 7 == 3 else len(set(completions)) + len(text) / 10 for text in completions]
"""


def asked(algo: str, place: Path, *more: str) -> list[str]:
    return runs.words(algo, place, *MORE, *more)


def rows(directory: Path, name: str = "metrics") -> list[dict]:
    return [json.loads(line) for line in (directory / f"{name}.jsonl").read_text().splitlines()]


def weights(result: Path) -> dict[tuple[str, str], Tensor]:
    """All tensors of a result, by the file and their name."""
    files = {str(path.relative_to(result)): load_file(path) for path in sorted(result.rglob("*.safetensors"))}
    return {(file, name): tensor for file, tensors in files.items() for name, tensor in tensors.items()}


def check_same(one: Path, other: Path, result: str = "policy") -> None:
    """The same steps up to rounding, the same responses, nearly the same weights."""
    for a, b in zip(rows(one), rows(other), strict=True):
        assert a.keys() == b.keys()
        assert a.get("stage") == b.get("stage")
        figures = a.keys() - {"stage"}
        assert all(math.isclose(a[key], b[key], rel_tol=2e-2, abs_tol=2e-4) for key in figures), (a, b)
    assert [row["response"] for row in rows(one, "samples")] == [row["response"] for row in rows(other, "samples")]
    kept = [weights(directory / result) for directory in (one, other)]
    assert kept[0].keys() == kept[1].keys()
    assert max(float((kept[0][name] - kept[1][name]).abs().max()) for name in kept[0]) < 5e-4


def test_two_processes_have_the_curve_of_one_which_goes_on_with_their_checkpoints(tmp_path):
    words = asked("ppo", tmp_path)
    one = runs.run(runs.settings(words), tmp_path / "one")
    status, out, err = several.torchrun("train", *words, "device=ddp", "hydra.run.dir=two", cwd=tmp_path)
    assert status == 0, err
    assert err.count("step 6/6") == out.count("next: rlnlp generate") == 1
    assert "2 processes (ddp)" in err
    two = tmp_path / "two"
    check_same(one, two)
    assert json.loads((two / "run.json").read_text())["fingerprint"]["processes"] == 2

    back = runs.broken_off(two, tmp_path / "back", 3)
    runs.go_on(back, "device.parallel=none")
    check_same(one, back)
    assert "processes 2 -> None" in (back / "train.log").read_text()


def test_processes_with_parts_of_the_weights_go_on_with_the_checkpoint_of_one_and_it_with_theirs(tmp_path):
    words = asked("ppo", tmp_path, "device.share_prompts=never")
    one = runs.run(runs.settings(words), tmp_path / "one")
    parts = runs.broken_off(one, tmp_path / "parts", 2)
    status, _, err = several.torchrun("resume", parts, "device.parallel=fsdp", cwd=tmp_path)
    assert status == 0, err
    assert err.count("resuming after step 2") == 1
    check_same(one, parts)
    for step in (one / "checkpoints").iterdir():
        files = [
            sorted(str(path.relative_to(run)) for path in (run / "checkpoints" / step.name).rglob("*"))
            for run in (one, parts)
        ]
        assert files[0] == files[1]
    back = runs.broken_off(parts, tmp_path / "back", 4)
    runs.go_on(back, "device.parallel=none")
    check_same(one, back)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_fine_tuning_in_two_processes_has_the_curve_of_one(parallel, tmp_path):
    words = asked("sft", tmp_path, "device.share_prompts=never", "algo.optimizer=adamw")
    one = runs.run(runs.settings(words), tmp_path / "one")
    status, _, err = several.torchrun("train", *words, f"device={parallel}", "hydra.run.dir=two", cwd=tmp_path)
    assert status == 0, err
    assert err.count("step 6/6") == 1
    check_same(one, tmp_path / "two")


ADAMW = ("algo.optimizer=adamw", "device.share_prompts=never")
# Of a batch, two short rows are read at once, and two long ones are not.
UNEVEN = ("algo.micro_batch_tokens=60", "algo.micro_batch_size=8", "data.preferences=uneven.jsonl")


@pytest.mark.parametrize(
    ("parallel", "more"),
    [
        ("ddp", ["algo.frozen_trunk=false"]),
        ("ddp", ["algo.frozen_trunk=true", "algo.ensemble_size=2"]),
        ("fsdp", ["algo.frozen_trunk=false", *ADAMW]),
        ("fsdp", ["algo.ensemble_size=2", "algo.ensemble=models", *UNEVEN, *ADAMW]),
    ],
)
def test_a_reward_model_of_two_processes_has_the_curve_of_one_which_goes_on_with_it(
    parallel, more, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    each = [(a, b, 3 + 7 * (n % 2)) for n, (a, b) in enumerate(itertools.product(small.WORDS[2:6], small.WORDS[9:13]))]
    rows_of = [{"prompt": f"the {a} is {b}", "chosen": "good . " * n, "rejected": "the ."} for a, b, n in each]
    (tmp_path / "uneven.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of))
    words = asked("reward-model", tmp_path, "algo.head=linear", "algo.micro_batch_size=3", "heldout.size=5", *more)
    one = runs.run(runs.settings(words), tmp_path / "one")
    status, out, err = several.torchrun("train", *words, f"device={parallel}", "hydra.run.dir=two", cwd=tmp_path)
    assert status == 0, err
    assert err.count("step 6/6") == out.count("next: rlnlp rank") == 1
    two = tmp_path / "two"
    check_same(one, two, "reward_model")
    results = [json.loads((run / "run.json").read_text())["result"] for run in (one, two)]
    for name in ("before", "after"):
        assert results[0][name] == pytest.approx(results[1][name], rel=1e-3)
    back = runs.broken_off(two, tmp_path / "back", 3)
    runs.go_on(back, "device.parallel=none")
    check_same(one, back, "reward_model")


def test_rounds_of_two_processes_have_the_curve_of_one_which_goes_on_with_them(tmp_path):
    words = asked("rlhf", tmp_path, "algo.reward_model.head=linear", "annotator.ratings_per_round=2")
    one = runs.run(runs.settings(words), tmp_path / "one")
    status, out, err = several.torchrun("train", *words, "device=ddp", "hydra.run.dir=two", cwd=tmp_path)
    assert status == 0, err
    assert out.count("next: ") == 1
    two = tmp_path / "two"
    for result in ("policy", "reward_model"):
        check_same(one, two, result)
    asked_about = []
    for run in (one, two):
        with Store(run / "feedback.sqlite", create=False) as store:
            asked_about.append([(item.texts, one.verdict) for item, one in store.standing()])
    assert asked_about[0] == asked_about[1]
    back = runs.broken_off(two, tmp_path / "back", 3)
    runs.go_on(back, "device.parallel=none")
    check_same(one, back)


def test_a_function_of_the_user_s_sees_the_whole_batch_in_the_first_process(tmp_path):
    (tmp_path / "mine.py").write_text(REWARD)
    term = f"reward.terms={{apart: {{fn: '{tmp_path}/mine.py:apart'}}, coherence: {{fn: coherence}}}}"
    words = [*asked("reinforce", tmp_path, "algo.baseline=greedy", "sampler.top_k=9"), "~reward.terms", f"+{term}"]
    one = runs.run(runs.settings(words), tmp_path / "one")
    status, _, err = several.torchrun("train", *words, "device=ddp", "hydra.run.dir=two", cwd=tmp_path)
    assert status == 0, err
    check_same(one, tmp_path / "two")


@pytest.mark.parametrize("killed", [0, 1])
def test_when_one_is_killed_the_other_ends_with_a_message_and_what_is_saved_goes_on(tmp_path, killed):
    words = [*asked("ppo", tmp_path), "device=ddp", "algo.total_steps=100000", "checkpoint.keep=2", "hydra.run.dir=run"]
    processes = several.by_hand("train", *words, cwd=tmp_path)
    several.steps_done(tmp_path / "run", 2, processes)
    processes[killed].kill()
    _, err = processes[1 - killed].communicate(timeout=120)
    processes[killed].communicate()
    assert processes[1 - killed].returncode == 143
    last = err[err.index("rlnlp train:") :]
    assert last.startswith(f"rlnlp train: process {killed} of 2 is gone (killed, or out of memory)")
    assert "\n  continue with: torchrun --nproc-per-node 2 -m rlnlp resume run\n" in last
    assert last.count("\n") == 2
    saved = int(max((tmp_path / "run" / "checkpoints").iterdir()).name.partition("-")[2])
    assert f"step {saved} is saved" in last
    runs.go_on(tmp_path / "run", "device.parallel=none", f"algo.total_steps={saved + 1}")
    assert len(rows(tmp_path / "run")) == saved + 1


def test_a_signal_to_any_ends_all_after_the_step_and_an_error_of_any_is_the_message_of_all(tmp_path):
    words = [*asked("reinforce", tmp_path), "device=ddp", "algo.total_steps=100000", "checkpoint.keep=2"]
    processes = several.by_hand("train", *words, "hydra.run.dir=run", cwd=tmp_path)
    several.steps_done(tmp_path / "run", 2, processes)
    processes[1].send_signal(signal.SIGTERM)
    (_, first), (_, second) = (process.communicate(timeout=120) for process in processes)
    assert [process.returncode for process in processes] == [143, 143]
    assert "rlnlp train: stopped by SIGTERM after step" in first
    assert second == ""
    done = len(rows(tmp_path / "run"))
    assert (tmp_path / "run" / "checkpoints" / name_of(done)).is_dir()

    (tmp_path / "mine.py").write_text("import os\nassert os.environ['RANK'] != '1', 'no room here'\n" + REWARD)
    shutil.rmtree(tmp_path / "run")
    own = f"+reward.terms.apart={{fn: '{tmp_path}/mine.py:apart'}}"
    processes = several.by_hand("train", *words, own, "hydra.run.dir=run", cwd=tmp_path)
    (_, first), (_, second) = (process.communicate(timeout=120) for process in processes)
    assert [process.returncode for process in processes] == [7, 7]
    assert "rlnlp train: process 1 of 2: " in first
    assert "no room here" in first
    assert second == ""
