"""``rlnlp runs``: every run below a directory as it is now, newest first, and how to continue the unfinished."""

import fcntl
import json
import os
import time

import pytest

from rlnlp.cli.main import main
from rlnlp.config.choices import merged
from rlnlp.config.differing import words_of
from rlnlp.config.measuring import with_measurements
from rlnlp.config.parse import parse
from rlnlp.config.schema import PpoRun
from rlnlp.evaluate.listing import list_lines
from rlnlp.evaluate.stored import read_run
from support import runs
from support.stored import stored_run, stored_sweep, usual


def listed(capsys, *words):
    assert main(["runs", *map(str, words)]) == 0
    return capsys.readouterr().out


def records(capsys, *words):
    return json.loads(listed(capsys, *words, "--json"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_are_listed_newest_first_with_what_they_reached_and_what_is_not_the_default(here, capsys):
    stored_run(here / "outputs/ppo/old", 0.6, "seed=3", started="2026-11-01T00:00:00+00:00")
    stored_run(here / "outputs/sft/new", 2.0, algo="sft", before=2.5, started="2026-11-02T00:00:00+00:00")
    lines = listed(capsys).splitlines()
    assert lines[0].split("  ")[0] == "run"
    assert [line.split()[0] for line in lines[1:]] == ["outputs/sft/new", "outputs/ppo/old"]
    assert "loss 2.500 -> 2.000" in lines[1]
    assert "score 0.500 -> 0.600  61 seconds  seed=3" in lines[2]
    assert len(lines) == 3  # nothing is unfinished, nothing broken


def test_a_reward_model_is_listed_with_its_accuracy(here, capsys):
    stored_run(here / "outputs/reward-model/a", 0.9, algo="reward-model")
    assert "accuracy 0.500 -> 0.900" in listed(capsys)
    found = records(capsys)["runs"][0]
    assert (found["metric"], found["after"]) == ("accuracy", 0.9)


def test_rounds_are_listed_with_the_last_one_that_was_begun_and_the_algorithm_of_the_policy(here, capsys):
    words = ["algo.rounds=2", "algo.reward_model.total_steps=20", "algo.policy.total_steps=10", "heldout.every=7"]
    stored_run(here / "outputs/rlhf/a", 0.9, *words, algo="rlhf", steps=60)
    line = listed(capsys).splitlines()[1]
    assert "  60/60, round 2/2  win_rate 0.500 -> 0.900  " in line
    settings = read_run(here / "outputs/rlhf/a").settings
    for steps, round_ in ((0, 0), (1, 1), (30, 1), (31, 2), (60, 2)):
        (here / "outputs/rlhf/a/run.json").write_text(json.dumps({"status": "done", "steps": steps}))
        (found,) = records(capsys)["runs"]
        assert (found["steps"], found["total_steps"], found["round"], found["rounds"]) == (steps, 60, round_, 2)
    assert sorted(words_of(settings)) == sorted(words)
    other = runs.settings(["algo=rlhf", "algo@algo.policy=reinforce", "algo.policy.ema_decay=0.5"])
    other = {key: value for key, value in other.items() if key != "experiment"}
    assert words_of(other) == ["algo@algo.policy=reinforce", "algo.policy.ema_decay=0.5"]


def test_an_interrupted_run_comes_with_the_command_that_resumes_it(here, capsys):
    for name in ("signal", "killed"):
        status = {"signal": "interrupted", "killed": "running"}[name]
        stored_run(here / "outputs/ppo" / name, None, status=status, steps=2, curve=(0.5,) * 3)
    text = listed(capsys)
    assert text.count("interrupted") == 2
    assert "\nnot finished; to continue:\n" in text
    assert "\n  rlnlp resume outputs/ppo/killed\n" in text
    assert "  3/" in text


def test_a_failed_run_tells_its_exit_code(here, capsys):
    stored_run(here / "outputs/a", None, status="failed", exit_code=8)
    assert "failed (exit 8)" in listed(capsys)


def test_a_run_whose_lock_is_held_is_running_whatever_its_record_says(here, capsys):
    run = stored_run(here / "outputs/ppo/a", None, status="interrupted", seconds=5.0)
    with (run / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (found,) = records(capsys)["runs"]
        assert (found["status"], found["resume"]) == ("running", None)
        assert found["seconds"] >= 5.0
    (found,) = records(capsys)["runs"]
    assert (found["status"], found["resume"]) == ("interrupted", "rlnlp resume outputs/ppo/a")


def test_the_time_of_a_killed_run_is_up_to_its_last_step(here):
    run = stored_run(here / "a", None, status="running", seconds=None, curve=(0.5,))
    now = time.time()
    os.utime(run / "lock", (now - 100, now - 100))
    os.utime(run / "metrics.jsonl", (now - 40, now - 40))
    assert read_run(run).seconds == pytest.approx(60, abs=1)


def test_a_sweep_is_resumed_as_a_whole_unless_it_goes_on(here, capsys):
    sweep = stored_sweep(here / "outputs/sweeps/s", {"algo.batch_size=4": (0.5, 0.6)})
    for number in (2, 3):
        stored_run(sweep / str(number), None, "algo.batch_size=4", f"seed={number}", status="interrupted")
    assert [each["resume"] for each in records(capsys)["runs"]] == ["rlnlp resume outputs/sweeps/s"] * 2 + [None] * 2
    assert listed(capsys).count("rlnlp resume") == 1
    with (sweep / "3" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert [each["resume"] for each in records(capsys)["runs"]] == [None] * 4


def test_the_command_names_the_code_that_a_directory_must_not_name(here, capsys):
    words = ["reward.terms.mine.fn=my rewards.py:f", "reward.terms.mine.weight=1"]
    stored_run(here / "outputs/a", None, *words, status="interrupted")
    way = "rlnlp resume outputs/a 'reward.terms.mine.fn=my rewards.py:f'"
    assert records(capsys)["runs"][0]["resume"] == way


def test_broken_directories_are_named_in_a_line_and_stop_nothing(here, capsys):
    stored_run(here / "outputs/sound", 0.6)
    for name in ("a", "b"):
        stored_run(here / "outputs" / name, 0.6)
        (here / "outputs" / name / "run.json").write_text("{")
    (stored_run(here / "outputs/c", 0.6) / "config.yaml").unlink()
    (stored_run(here / "outputs/d", 0.6) / "run.json").unlink()
    odd = stored_run(here / "outputs/e", 0.6)
    (odd / "run.json").write_text(json.dumps({"status": "done", "result": {"after": {"score": 1}}}))
    lines = listed(capsys).splitlines()
    assert len([line for line in lines if line.startswith("outputs/")]) == 1
    assert "2 directories left out, run.json cannot be read (JSONDecodeError): outputs/a, outputs/b" in lines
    assert "1 directory left out, config.yaml cannot be read (FileNotFoundError): outputs/c" in lines
    assert "1 directory left out, run.json is missing: outputs/d" in lines
    assert "1 directory left out, run.json is not as a run writes it (KeyError: 'difference'): outputs/e" in lines


def test_a_directory_that_is_being_made_is_not_broken(here, capsys):
    run = stored_run(here / "outputs/new", None)
    (run / "run.json").unlink()
    with (run / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert records(capsys) == {"runs": [], "total": 0, "broken": []}


def test_links_and_hidden_directories(here, capsys):
    stored_run(here / "elsewhere/a", 0.6)
    stored_run(here / "outputs/.trash/b", 0.6)
    stored_run(here / "outputs/c", 0.6)
    (here / "outputs/more").symlink_to(here / "elsewhere")
    (here / "outputs/again").symlink_to(here / "outputs")
    (here / "outputs/latest").symlink_to(here / "outputs/c")
    assert [each["run"] for each in records(capsys)["runs"]] == ["outputs/more/a", "outputs/c"]


def test_so_many_as_are_asked_for(here, capsys):
    for day in range(1, 6):
        stored_run(here / f"outputs/{day}", 0.6, started=f"2026-11-0{day}T00:00:00+00:00")
    text = listed(capsys, "-n", 2)
    assert "outputs/5" in text
    assert "outputs/3" not in text
    assert "3 older runs not shown: -n 0 shows all" in text
    assert "not shown" not in listed(capsys, "-n", 0)
    assert records(capsys, "-n", 1)["total"] == 5


def test_no_directory_and_no_runs(here, capsys):
    assert listed(capsys) == "no runs below outputs\nto make one: rlnlp train\n"
    assert main(["runs", "nowhere"]) == 6
    assert "no directory nowhere" in capsys.readouterr().err
    run = stored_run(here / "mine", 0.6)
    assert [each["run"] for each in records(capsys, run)["runs"]] == [str(run)]


def test_what_a_run_decides_by_itself_is_no_setting_of_its_own(here, capsys):
    decided = with_measurements(parse(PpoRun, usual("ppo"))).heldout.every
    stored_run(here / "outputs/a", 0.6, f"heldout.every={decided}")
    stored_run(here / "outputs/b", 0.6, f"heldout.every={decided + 1}")
    found = {each["run"]: each["settings"] for each in records(capsys)["runs"]}
    assert found == {"outputs/a": [], "outputs/b": [f"heldout.every={decided + 1}"]}


@pytest.mark.parametrize("width", [80, 119, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(width):
    words = ["data.prompts=/a/rather/long/path/to/my prompts.jsonl", "seed=3", "reward.terms.length.weight=0.25"]
    each = {
        "run": "outputs/ppo/2026-11-29_04-09-04-ab12cd34", "status": "interrupted", "algo": "reinforce", "steps": 100,
        "total_steps": 1000, "metric": "score", "before": 0.5, "after": 0.6, "seconds": 700.0, "settings": words,
        "exit_code": 0, "rounds": None,
    }  # fmt: skip
    lines = list(list_lines([each], width))
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "'data.prompts=/a/rather/long/path/to/my prompts.jsonl' seed=3 reward.terms.length.weight=0.25" in text
    assert "score 0.500 -> 0.600" in text


def test_a_line_that_is_piped_is_never_broken(here, capsys):
    stored_run(here / "outputs/a", 0.6, "data.prompts=" + "long/" * 60 + "p.jsonl\x1b[2J")
    lines = listed(capsys).splitlines()
    assert len(lines) == 2
    assert "long/p.jsonl\\033[2J" in lines[1]  # as a shell reads it back


def test_the_words_compose_the_settings_again(here):
    run = read_run(stored_run(here / "a", 0.6, "seed=3", "algo.learning_rate=1e-3"))
    assert merged(usual("ppo"), words_of(run.settings)) == run.settings
    assert sorted(words_of(run.settings)) == ["algo.learning_rate=0.001", "seed=3"]
