"""A run through the real command: what its directory holds, and that the same seed gives the same bytes."""

import fcntl
import hashlib
import json
import math
import os
import re
import stat
from dataclasses import asdict

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlnlp.cli import hydra_app
from rlnlp.cli.main import main
from rlnlp.commands.preflight import parse_run_config
from rlnlp.commands.train import run_training
from rlnlp.config.choices import conf_dir
from rlnlp.errors import Failure
from rlnlp.run import checkpoint
from rlnlp.run.manifest import read_config
from support import runs, small
from support.inside import rlnlp
from support.small import write_prompts

STEPS, PROMPTS, GENERATIONS, HELDOUT = 3, 4, 4, 6
DESIGNED = {"config.yaml", "run.json", "metrics.jsonl", "timing.jsonl", "samples.jsonl", "lock", "train.log"}
DESIGNED |= {"curves.png", "checkpoints", "policy", "summary.md", "heldout.jsonl"}
FACTS = {"id", "command", "algo", "status", "exit_code", "started", "seconds", "training_seconds", "versions"}
FACTS |= {"fingerprint", "settings_sha256", "steps", "episodes", "tokens", "result"}
WEIGHTS = {"length": 0.1, "diversity": 0.2, "coherence": 0.2, "similarity": 0.1, "sentiment": 0.4}
FIGURES = {"step", "score", *(f"score/{name}" for name in WEIGHTS), "kl", "kl_coef", "entropy", "policy_loss"}
FIGURES |= {"grad_norm", "response_tokens", "ended", "unique", "equal_groups", "learning_rate", "episodes"}
FIGURES |= {"score_std"}
SAME = ("metrics.jsonl", "samples.jsonl", "heldout.jsonl", "policy/model.safetensors")


@pytest.fixture(scope="module")
def given(model_dir, tmp_path_factory):
    """The settings of every run here, as words."""
    root = tmp_path_factory.mktemp("given")
    (root / "own").mkdir()
    prompts, heldout = write_prompts(root / "prompts.jsonl", 30), write_prompts(root / "own" / "heldout.jsonl", 40)
    heldout.write_text("".join(heldout.read_text().splitlines(keepends=True)[-HELDOUT:]))
    return [
        "algo=reinforce", f"model.path={model_dir}", f"data.prompts={prompts}", f"data.heldout={heldout}", "seed=3",
        f"algo.total_steps={STEPS}", f"algo.batch_size={PROMPTS}", "sampler.max_new_tokens=6", "samples.every=2",
        "checkpoint.every=2", "algo.learning_rate=1e-2", "device=cpu",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(given, tmp_path_factory):
    """A finished run in a directory of its own choice, and what the command printed, in this process."""
    root = tmp_path_factory.mktemp("run")
    printed = rlnlp("train", *given, "hydra.run.dir=the run", cwd=root)
    return root / "the run", *printed


@pytest.fixture
def again(given, tmp_path):
    """Another run with some settings changed, in this process; its directory."""

    def trained(*changes):
        with runs.without_pictures():
            run_training(settings_of([*given, *changes]), tmp_path / "again", "train", hidden=())
        return tmp_path / "again"

    return trained


def settings_of(words):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("train", words), resolve=True)


def rows(path):
    text = path.read_text()
    assert text.endswith("\n")
    assert not re.search(r"\b(NaN|-?Infinity)\b", text)
    return [json.loads(line) for line in text.split("\n")[:-1]]


def contents(directory):
    files = [p for p in sorted(directory.rglob("*")) if p.is_file() and p.name != "lock"]
    return {p.relative_to(directory): p.read_bytes() for p in files}


def test_a_run_ends_with_exit_0_and_prints_where_it_is(run):
    _, code, out, err = run
    assert code == 0
    assert "the run/" in out
    assert "next: rlnlp generate 'the run' 'the " in out
    assert out.endswith("\n      rlnlp evaluate 'the run'\n")
    assert f"step {STEPS}/{STEPS}" in err
    assert err.startswith("run directory the run\n")
    assert "Traceback" not in err


def test_the_run_directory_holds_what_the_design_says_and_nothing_else(run):
    directory, *_ = run
    assert {p.name for p in directory.iterdir()} == DESIGNED
    assert {p.name for p in (directory / "checkpoints").iterdir()} == {"step-00000002", "step-00000003"}
    assert [p.name for p in directory.parent.iterdir()] == ["the run"]


def test_run_json_has_for_programs_how_the_run_ended(run):
    directory, *_ = run
    facts = json.loads((directory / "run.json").read_text())
    assert set(facts) >= FACTS
    expected = {"command": "train", "algo": "reinforce", "status": "done", "exit_code": 0, "steps": STEPS}
    assert facts.items() >= expected.items()
    metrics = rows(directory / "metrics.jsonl")
    count = PROMPTS * GENERATIONS
    assert facts["episodes"] == metrics[-1]["episodes"] == STEPS * count
    assert facts["tokens"] == round(sum(row["response_tokens"] for row in metrics) * count)
    assert facts["seconds"] > facts["training_seconds"] > 0
    assert {"rlnlp", "torch", "transformers"} <= set(facts["versions"])
    assert facts["fingerprint"].items() >= {"threads": 1, "device": "cpu", "torch": torch.__version__}.items()
    assert facts["started"].endswith("+00:00")


def test_before_and_after_are_measured_with_the_same_numbers(again):
    result = json.loads((again("algo.learning_rate=0") / "run.json").read_text())["result"]
    assert result["before"] == result["after"]


def test_the_result_compares_before_and_after_on_held_out_prompts(run):
    directory, *_ = run
    result = json.loads((directory / "run.json").read_text())["result"]
    assert (result["n"], result["heldout"]) == (HELDOUT, True)
    assert result["before"]["kl"] == 0
    assert result["after"]["kl"] != 0
    for when in ("before", "after"):
        assert set(result[when]["terms"]) == set(WEIGHTS)
        whole = sum(WEIGHTS[name] * value for name, value in result[when]["terms"].items())
        assert math.isclose(result[when]["score"], whole, rel_tol=1e-5)
    difference, change = result["difference"]["score"], result["after"]["score"] - result["before"]["score"]
    assert math.isclose(difference["mean"], change, abs_tol=1e-6)
    assert difference["interval"][0] <= difference["mean"] <= difference["interval"][1]


def test_config_yaml_reads_back_equal_to_what_was_asked_for(run, given):
    directory, *_ = run
    asked = parse_run_config(settings_of(given))
    assert read_config(directory) == asked
    assert asked.seed == 3
    digest = hashlib.sha256(json.dumps(asdict(asked), sort_keys=True).encode()).hexdigest()
    assert json.loads((directory / "run.json").read_text())["settings_sha256"] == digest


def test_metrics_are_strict_json_with_the_designed_names_a_line_for_each_step(run):
    directory, *_ = run
    metrics, timing = rows(directory / "metrics.jsonl"), rows(directory / "timing.jsonl")
    assert [row["step"] for row in metrics] == [row["step"] for row in timing] == list(range(1, STEPS + 1))
    assert all(set(row) == FIGURES for row in metrics)
    assert metrics[0]["kl"] == 0
    assert all(row["kl"] != 0 for row in metrics[1:])
    for row in metrics:
        assert math.isclose(row["score"], sum(WEIGHTS[n] * row[f"score/{n}"] for n in WEIGHTS), rel_tol=1e-5)
    assert all({"seconds", "tokens_per_second", "sampling", "reward"} <= set(row) for row in timing)


def test_samples_keep_every_response_of_the_steps_asked_for_with_its_scores(run):
    directory, *_ = run
    samples = rows(directory / "samples.jsonl")
    assert [row["step"] for row in samples] == [1] * 16 + [2] * 16
    for row in samples:
        assert set(row) == {"step", "prompt", "response", "score", "terms", "kl"}
        assert math.isclose(row["score"], sum(WEIGHTS[n] * v for n, v in row["terms"].items()), rel_tol=1e-5)
    mean = sum(row["score"] for row in samples[:16]) / 16
    assert math.isclose(mean, rows(directory / "metrics.jsonl")[0]["score"], rel_tol=1e-5)


def test_the_report_is_printed_unbroken_and_stands_in_the_log_and_in_summary_md(run):
    directory, _, out, err = run
    lines = out.rstrip("\n").split("\n")
    assert lines[0] == f"held-out prompts: {HELDOUT}"
    assert lines[1].split() == ["before", "after", "difference", "[95", "%", "interval]"]
    assert not [line for line in lines if line != line.rstrip()]
    assert [line[:8].rstrip() for line in lines].count("after") == 3
    assert (directory / "train.log").read_text().endswith(out)
    (took,) = [line for line in lines if line.startswith("took ")]
    assert re.fullmatch(
        r"took \d+ (seconds?|minutes), \d+ (seconds?|minutes) of training; peak memory \d+\.\d [MG]iB", took
    )
    summary = (directory / "summary.md").read_text()
    assert took in summary
    result = json.loads((directory / "run.json").read_text())["result"]
    for name, before in result["before"]["terms"].items():
        assert f"| {name} | {before:.3f} | {result['after']['terms'][name]:.3f} | " in summary
    assert "algorithm   REINFORCE" in err
    assert "Traceback" not in summary
    assert json.loads((directory / "run.json").read_text())["peak_memory_bytes"]["process"] > 2**27


def test_heldout_jsonl_has_both_responses_to_each_prompt_with_all_their_scores(run):
    directory, *_ = run
    found = rows(directory / "heldout.jsonl")
    result = json.loads((directory / "run.json").read_text())["result"]
    assert len(found) == HELDOUT
    for when in ("before", "after"):
        records = [row[when] for row in found]
        assert all(set(record) == {"response", "score", "terms", "kl", "tokens"} for record in records)
        assert all(1 <= record["tokens"] <= 6 for record in records)
        for key in ("score", "kl"):
            mean = sum(record[key] for record in records) / HELDOUT
            assert math.isclose(mean, result[when][key], rel_tol=1e-4, abs_tol=1e-6)
        for name in WEIGHTS:
            mean = sum(record["terms"][name] for record in records) / HELDOUT
            assert math.isclose(mean, result[when]["terms"][name], rel_tol=1e-4, abs_tol=1e-6)
    assert [row["before"] for row in found] != [row["after"] for row in found]


def test_the_checkpoints_verify_and_the_last_one_holds_the_result(run):
    directory, *_ = run
    assert not [fault for path in (directory / "checkpoints").iterdir() for fault in checkpoint.faults(path)]
    last, result = directory / "checkpoints" / "step-00000003" / "policy", directory / "policy"
    saved = {p.name: p.read_bytes() for p in result.iterdir()}
    card = saved.pop("README.md").decode()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "rlnlp reinforce " in card
    assert {p.name: p.read_bytes() for p in last.iterdir()} == saved
    earlier = directory / "checkpoints" / "step-00000002" / "policy" / "model.safetensors"
    assert earlier.read_bytes() != (last / "model.safetensors").read_bytes()


def test_the_result_loads_with_plain_transformers_and_says_what_generate_says(run, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory, *_ = run
    words = AutoTokenizer.from_pretrained(directory / "policy")
    lm, info = AutoModelForCausalLM.from_pretrained(directory / "policy", output_loading_info=True)
    assert not info["missing_keys"] | info["unexpected_keys"]
    asked = words("the film is", return_tensors="pt")
    tokens = lm.generate(**asked, do_sample=False, max_new_tokens=6)[0, asked["input_ids"].shape[1] :]
    capsys.readouterr()
    assert (
        main(["generate", str(directory), "the film is", "sampler=greedy", "sampler.max_new_tokens=6", "--json"]) == 0
    )
    (record,) = json.loads(capsys.readouterr().out)
    assert record["response"].split() == words.decode(tokens, skip_special_tokens=True).split() != []


@pytest.mark.slow
def test_the_same_command_gives_the_same_bytes_in_a_process_with_other_habits(run, given, tmp_path):
    directory, *_ = run
    before = os.umask(0o027)
    try:
        env = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C", "OMP_NUM_THREADS": "2"}
        code, _, err = small.rlnlp("reinforce", *given, cwd=tmp_path, env=env)
    finally:
        os.umask(before)
    assert code == 0, err
    (other,) = (tmp_path / "outputs" / "reinforce").iterdir()
    for name in SAME:
        assert (other / name).read_bytes() == (directory / name).read_bytes(), name
    modes = {str(p.relative_to(other)): stat.S_IMODE(p.stat().st_mode) for p in other.rglob("*")}
    wrong = {name: oct(mode) for name, mode in modes.items() if mode != (0o750 if (other / name).is_dir() else 0o640)}
    assert not wrong


def test_another_seed_gives_another_run(run, again):
    directory, *_ = run
    other = again("seed=4")
    for name in SAME:
        assert (other / name).read_bytes() != (directory / name).read_bytes(), name


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["checkpoint.every=1", "checkpoint.keep=1", "samples.every=1", "samples.show=5", "heldout.every=1"],
        ["checkpoint.every=0", "samples.every=0", "samples.show=0", "heldout.size=0"],
    ],
    ids=["as it was", "watched closely", "hardly watched"],
)
def test_watching_changes_no_byte_of_training(changes, run, again):
    directory, *_ = run
    other = again(*changes)
    name = "policy/model.safetensors"
    assert (other / name).read_bytes() == (directory / name).read_bytes()
    found = [{k: v for k, v in row.items() if k in FIGURES} for row in rows(other / "metrics.jsonl")]
    assert found == rows(directory / "metrics.jsonl")
    assert (len(list((other / "checkpoints").iterdir()))) == (1 if changes else 2)


def test_a_second_run_in_the_same_directory_is_exit_6_and_changes_nothing(run, given):
    directory, *_ = run
    before = contents(directory)
    code, out, err = rlnlp("train", *given, "hydra.run.dir=the run", cwd=directory.parent)
    assert (code, out) == (6, "")
    way = "  continue with: rlnlp resume 'the run'\n  or choose another directory: hydra.run.dir=...\n"
    assert err == f"rlnlp train: the run holds a run already\n{way}"
    assert contents(directory) == before


def test_a_directory_in_use_by_another_process_is_exit_6(given, tmp_path):
    with (tmp_path / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, out, err = rlnlp("train", *given, "hydra.run.dir=.", cwd=tmp_path)
    assert (code, out) == (6, "")
    assert err.startswith("rlnlp train: . is in use by another process: ")
    assert [p.name for p in tmp_path.iterdir()] == ["lock"]


def test_a_directory_that_cannot_be_made_is_exit_5(given, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = rlnlp("train", *given, "hydra.run.dir=file/below", cwd=tmp_path)
    assert (code, out) == (5, "")
    assert "file/below" in err
    assert "Traceback" not in err


def test_a_run_that_fails_says_so_in_run_json_and_keeps_the_traceback_in_its_log(again, tmp_path):
    (tmp_path / "mine.py").write_text("def broken(completions):\n    raise ValueError('no')\n")
    with pytest.raises(Failure, match="reward term 'mine' raised ValueError: no"):
        again(f"+reward.terms.mine={{fn: '{tmp_path}/mine.py:broken'}}")
    facts = json.loads((tmp_path / "again" / "run.json").read_text())
    assert (facts["status"], facts["exit_code"], facts["steps"], facts["result"]) == ("failed", 7, 0, {})
    assert "Traceback" in (tmp_path / "again" / "train.log").read_text()


def test_a_disk_that_fills_up_while_training_is_exit_5(given, tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    code, _, err = rlnlp("train", *given, "hydra.run.dir=.", cwd=tmp_path)
    assert code == 5, err
    assert "No space left" in err
    facts = json.loads((tmp_path / "run.json").read_text())
    assert (facts["status"], facts["exit_code"]) == ("failed", 5)


def test_the_directory_is_named_by_algorithm_time_and_chance_and_a_wrong_setting_leaves_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(hydra_app, "run_training", lambda settings, directory, command, hidden: seen.append(directory))
    assert main(["train"]) == main(["train"]) == 0
    assert len(set(seen)) == 2
    pattern = r"outputs/ppo/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-[0-9a-f]{8}"
    assert all(re.fullmatch(pattern, str(path)) for path in seen)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert main(["train", "model.path=./nowhere"]) == 4
    assert not list(tmp_path.iterdir())
