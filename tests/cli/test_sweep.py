"""Sweeps: a run for each job, one table, and failures that stop nothing else."""

import json

import pytest

from rlnlp.cli.main import main
from rlnlp.run.manifest import read_config
from support.small import ROOT, rlnlp, write_prompts

DEADLY = (
    "import os\n\n\ndef f(completions, how):\n"
    "    if how:\n        os.kill(os.getpid(), how)\n    return [1.0] * len(completions)\n"
)


def asked(model_dir, prompts):
    return [
        f"model.path={model_dir}", f"data.prompts={prompts}", "algo.total_steps=1", "algo.batch_size=2",
        "sampler.max_new_tokens=4", "device=cpu",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def seeds(model_dir, tmp_path_factory):
    """A sweep over three seeds in which all goes well: where it lies and what it printed."""
    place = tmp_path_factory.mktemp("seeds")
    words = asked(model_dir, write_prompts(place / "p.jsonl", 20))
    return place, *rlnlp("reinforce", *words, "-m", "seed=1,2,3", cwd=place)


@pytest.fixture(scope="module")
def deaths(model_dir, tmp_path_factory):
    """A sweep of four jobs: two with wrong settings, one that is killed, one that is well."""
    place = tmp_path_factory.mktemp("deaths")
    (place / "deadly.py").write_text(DEADLY)
    words = asked(model_dir, write_prompts(place / "p.jsonl", 20))
    words += ["-m", "+reward.terms.mine={fn: deadly.py:f}", "+reward.terms.mine.weight=nan,2"]
    return place / "my sweep", *rlnlp(
        "reinforce", *words, "+reward.terms.mine.args.how=9,0", "hydra.sweep.dir=my sweep", cwd=place
    )


def records(directory):
    return json.loads((directory / "sweep.json").read_text())


def test_a_sweep_over_seeds_gives_a_run_for_each_of_them(seeds):
    place, code, _, err = seeds
    assert code == 0, err
    (directory,) = (place / "outputs" / "sweeps").iterdir()
    assert {p.name for p in place.iterdir()} == {"outputs", "p.jsonl"}
    assert {p.name for p in directory.iterdir() if p.is_dir()} == {"0", "1", "2"}
    assert [read_config(directory / str(job)).seed for job in range(3)] == [1, 2, 3]
    facts = [json.loads((directory / str(job) / "run.json").read_text()) for job in range(3)]
    assert [(f["status"], f["exit_code"], f["command"]) for f in facts] == [("done", 0, "reinforce")] * 3
    assert len({f["result"]["after"]["score"] for f in facts}) == 3
    for job in range(3):
        assert (directory / str(job) / "policy" / "model.safetensors").is_file()


def test_the_sweep_is_told_in_sweep_json_job_by_job(seeds):
    place, *_ = seeds
    (directory,) = (place / "outputs" / "sweeps").iterdir()
    found = records(directory)
    assert [job["job"] for job in found] == [0, 1, 2]
    assert ["seed=1" in job["overrides"] for job in found] == [True, False, False]
    for job in found:
        facts = json.loads((place / job["directory"] / "run.json").read_text())
        assert (job["status"], job["exit_code"]) == ("done", 0)
        assert (job["result"], job["seconds"]) == (facts["result"], facts["seconds"])


def test_one_table_shows_what_differs_and_what_came_of_it(seeds):
    place, _, out, _ = seeds
    table = out[out.rindex("\njob ") + 1 :].rstrip("\n").split("\n")
    assert table[0].split("  ")[:5] == ["job", "seed", "status", "before", "after"]
    found = records(next((place / "outputs" / "sweeps").iterdir()))
    for line, job in zip(table[1:4], found, strict=True):
        result, score = job["result"], job["result"]["difference"]["score"]
        low, high = score["interval"]
        figures = f"{result['before']['score']:.3f} {result['after']['score']:.3f} {score['mean']:+.3f}"
        end = f"[{low:+.3f}, {high:+.3f}] {result['after']['kl']:.3f} {job['seconds']:.0f}"
        best = ["best"] * (result["after"]["score"] == max(job["result"]["after"]["score"] for job in found))
        assert line.split() == [str(job["job"]), str(job["job"] + 1), "done", *f"{figures} {end}".split(), *best]
    assert out.count("\njob ") == 1
    assert table[5] == "over seeds: mean ± standard deviation".ljust(len(table[5]))


def test_the_screen_has_one_line_for_each_job_and_one_for_how_it_ended(seeds):
    place, _, _, err = seeds
    lines = err.rstrip("\n").split("\n")
    assert [line[:6] for line in lines] == ["job 1 ", "  done", "job 2 ", "  done", "job 3 ", "  done"]
    assert all("score 0." in line and "[" in line for line in lines[1::2])
    (directory,) = (place / "outputs" / "sweeps").iterdir()
    for job in range(3):
        assert "before  after  difference" in (directory / str(job) / "output.log").read_text()


def test_the_table_names_its_directory_on_one_line(seeds):
    place, _, out, _ = seeds
    assert f"outputs/sweeps/{next((place / 'outputs' / 'sweeps').iterdir()).name}\n" in out.replace(" \n", "\n")


def test_a_job_that_fails_or_is_killed_stops_no_other_and_the_sweep_is_exit_10(deaths):
    directory, code, out, err = deaths
    assert code == 10
    assert [(job["exit_code"], job["status"]) for job in records(directory)] == [
        (2, "failed"), (2, "failed"), (137, "failed"), (0, "done"),
    ]  # fmt: skip
    facts = json.loads((directory / "3" / "run.json").read_text())
    assert (facts["status"], facts["result"]["after"]["terms"]["mine"]) == ("done", 1)
    table = out[out.rindex("\njob ") + 1 :].rstrip("\n").split("\n")
    assert [line.split()[:4] for line in table[1:]] == [
        ["0", "nan", "9", "failed"], ["1", "nan", "0", "failed"], ["2", "2", "9", "failed"], ["3", "2", "0", "done"],
    ]  # fmt: skip
    assert "Traceback" not in err


def test_the_failed_jobs_are_named_with_what_was_wrong(deaths):
    _, _, _, err = deaths
    assert err.count("rlnlp reinforce: reward.terms.mine.weight must be finite, got nan\n") == 2
    last = err.rstrip("\n").split("\n")[-3:]
    assert [line[: len("job 0 failed with exit ")] for line in last] == [f"job {i} failed with exit " for i in range(3)]
    assert last[2] == "job 2 failed with exit 137: see my sweep/2/train.log"


def test_a_setting_that_no_job_could_have_starts_no_job(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "-m", "algo=reinforce,pppo"]) == 2
    assert "no algo 'pppo'" in capsys.readouterr().err
    assert not list(tmp_path.rglob("job.json"))


def test_a_sweep_directory_with_a_time_in_it_is_where_the_table_looks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    code = main(["train", "-m", "seed=1", "model.path=./nowhere", "hydra.sweep.dir=sweep-${now:%Y}"])
    assert code == 10, capsys.readouterr().err
    (place,) = tmp_path.glob("sweep-2*")
    assert [job["exit_code"] for job in records(place)] == [4]


def test_a_failed_job_in_a_subdirectory_of_the_user_s_choice_is_not_lost(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert main(["train", "-m", "seed=1", "model.path=./nowhere", "hydra.sweep.subdir=a/${hydra.job.num}"]) == 10
