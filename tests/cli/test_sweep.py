"""Sweeps: a run for each job, one table, and failures that stop nothing else."""

import json
import shutil
from pathlib import Path

import pytest

from rlnlp.cli import sweep
from rlnlp.cli.main import main
from rlnlp.run.manifest import read_config
from support.small import ROOT, rlnlp, write_prompts

DEADLY = (
    "import os\n\n\ndef f(completions, how):\n"
    "    if how < 0:\n        raise ValueError(how)\n"
    "    if how:\n        os.kill(os.getpid(), how)\n    return [1.0] * len(completions)\n"
)


def asked(model_dir, prompts):
    return [
        f"model.path={model_dir}", f"data.prompts={prompts}", "algo.total_steps=1", "algo.batch_size=2",
        "sampler.max_new_tokens=4", "device=cpu",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def seeds(model_dir, tmp_path_factory):
    """A sweep over two seeds in which all goes well: where it lies and what it printed."""
    place = tmp_path_factory.mktemp("seeds")
    words = asked(model_dir, write_prompts(place / "p.jsonl", 20))
    return place, *rlnlp("reinforce", *words, "-m", "seed=1,2", cwd=place)


@pytest.fixture(scope="module")
def deaths(model_dir, tmp_path_factory):
    """A sweep of three jobs: one that fails, one that is killed, one that is well."""
    place = tmp_path_factory.mktemp("deaths")
    (place / "deadly.py").write_text(DEADLY)
    words = asked(model_dir, write_prompts(place / "p.jsonl", 20))
    words += ["-m", "+reward.terms.mine={fn: deadly.py:f, weight: 2}", "+reward.terms.mine.args.how=-1,9,0"]
    found = rlnlp(
        "reinforce", *words, "hydra.sweep.dir=my sweep-${now:%Y}", "hydra.sweep.subdir=a/${hydra.job.num}", cwd=place
    )
    (directory,) = place.glob("my sweep-2*")
    return directory, *found


def records(directory):
    return json.loads((directory / "sweep.json").read_text())


def test_a_sweep_over_seeds_gives_a_run_for_each_of_them(seeds):
    place, code, _, err = seeds
    assert code == 0, err
    (directory,) = (place / "outputs" / "sweeps").iterdir()
    assert {p.name for p in place.iterdir()} == {"outputs", "p.jsonl"}
    assert {p.name for p in directory.iterdir() if p.is_dir()} == {"0", "1"}
    assert [read_config(directory / str(job)).seed for job in range(2)] == [1, 2]
    facts = [json.loads((directory / str(job) / "run.json").read_text()) for job in range(2)]
    assert [(f["status"], f["exit_code"], f["command"]) for f in facts] == [("done", 0, "reinforce")] * 2
    assert len({f["result"]["after"]["score"] for f in facts}) == 2
    for job in range(2):
        assert (directory / str(job) / "policy" / "model.safetensors").is_file()


def test_the_sweep_is_told_in_sweep_json_job_by_job(seeds):
    place, *_ = seeds
    (directory,) = (place / "outputs" / "sweeps").iterdir()
    found = records(directory)
    assert [job["job"] for job in found] == [0, 1]
    assert ["seed=1" in job["overrides"] for job in found] == [True, False]
    for job in found:
        facts = json.loads((place / job["directory"] / "run.json").read_text())
        assert (job["status"], job["exit_code"]) == ("done", 0)
        assert (job["result"], job["seconds"]) == (facts["result"], facts["seconds"])


def test_one_table_shows_what_differs_and_what_came_of_it(seeds):
    place, _, out, _ = seeds
    table = out[out.rindex("\njob ") + 1 :].rstrip("\n").split("\n")
    assert table[0].split()[:4] == ["job", "seed", "before", "after"]
    found = records(next((place / "outputs" / "sweeps").iterdir()))
    for line, job in zip(table[1:3], found, strict=True):
        result, score = job["result"], job["result"]["difference"]["score"]
        low, high = score["interval"]
        figures = f"{result['before']['score']:.3f} {result['after']['score']:.3f} {score['mean']:+.3f}"
        end = f"[{low:+.3f}, {high:+.3f}] {result['after']['kl']:.2f} {job['seconds']:.0f}"
        best = ["best"] * (result["after"]["score"] == max(job["result"]["after"]["score"] for job in found))
        assert line.split() == [str(job["job"]), str(job["job"] + 1), *f"{figures} {end}".split(), *best]
    assert out.count("\njob ") == 1


def test_a_sweep_ends_with_its_own_comparison_and_where_it_is(seeds):
    place, _, out, err = seeds
    directory = next((place / "outputs" / "sweeps").iterdir()).relative_to(place)
    assert "warning" not in err
    lines = [" ".join(line.split()) for line in out.rstrip("\n").split("\n")]
    assert lines[-1] == f"written to {directory}/: compare.md, compare.json, compare.csv, curves.png, frontier.png"
    start = next(i for i, line in enumerate(lines) if line.endswith(": mean over seeds [95 % interval]"))
    assert lines[start + 1] == "seeds before after difference KL"
    scores = [job["result"]["after"]["score"] for job in records(place / directory)]
    assert lines[start + 2].split()[0] == "2"
    assert lines[start + 2].split()[2] == f"{sum(scores) / 2:.3f}"
    assert any(line.startswith("With 2 seeds in a group") for line in lines[start:])
    written = json.loads((place / directory / "compare.json").read_text())
    assert [run["score"] for run in written["runs"]] == scores


def test_a_comparison_that_fails_changes_nothing_of_how_a_sweep_ended(seeds, tmp_path, monkeypatch, capsys):
    place, *_ = seeds
    shutil.copytree(next((place / "outputs" / "sweeps").iterdir()), tmp_path / "s")
    (tmp_path / "s" / "compare.md").unlink()
    (tmp_path / "s" / "compare.md").mkdir()
    monkeypatch.chdir(tmp_path)
    assert sweep.summary(Path("s"), [Path("s") / str(job) for job in range(2)]) == 0
    out, err = capsys.readouterr()
    assert "seeds  before" in out
    assert err.startswith("warning: the jobs could not be compared (IsADirectoryError")
    assert err.endswith("to try again: rlnlp compare s\n")


def test_the_screen_has_one_line_for_each_job_and_one_for_how_it_ended(seeds):
    place, _, _, err = seeds
    lines = err.rstrip("\n").split("\n")
    (directory,) = (place / "outputs" / "sweeps").iterdir()
    assert lines[0] == f"sweep directory {directory.relative_to(place)}: 2 jobs"
    assert lines[1::2] == [f"job {job} of 2 in {job - 1}: seed={job}" for job in (1, 2)]
    assert all(line.startswith("  done in ") and ": score " in line and "[" in line for line in lines[2::2])
    assert [" left" in line for line in lines[2::2]] == [True, False]
    for job in range(2):
        assert "before  after  difference" in (directory / str(job) / "output.log").read_text()


@pytest.mark.slow
def test_resume_does_what_is_missing_of_a_sweep(seeds, tmp_path, monkeypatch, capfd):
    place, *_ = seeds
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copytree(next((place / "outputs" / "sweeps").iterdir()), "it's moved")
    command = json.loads(Path("it's moved/command.json").read_text())
    assert command["command"] == "reinforce"
    command["words"] = [word.replace("=p.jsonl", f"={place / 'p.jsonl'}") for word in command["words"]]
    Path("it's moved/command.json").write_text(json.dumps(command))
    before = [json.loads(Path(f"it's moved/{job}/run.json").read_text()) for job in range(2)]
    shutil.rmtree("it's moved/0")
    assert main(["resume", "it's moved"]) == 0
    _, err = capfd.readouterr()
    ends = err.split("\n")[2:5:2]
    assert [line.startswith("  complete already: score ") for line in ends] == [False, True]
    assert ends[0].startswith("  done in ")
    after = [json.loads(Path(f"it's moved/{job}/run.json").read_text()) for job in range(2)]
    assert [one["id"] == other["id"] for one, other in zip(before, after, strict=True)] == [False, True]
    assert [facts["result"] for facts in after] == [facts["result"] for facts in before]
    assert [job["status"] for job in records(Path("it's moved"))] == ["done"] * 2
    assert json.loads(Path("it's moved/command.json").read_text()) == command


def sweep_of_own_code(directory):
    (directory / "mine.py").write_text("def f(completions):\n    return [0.0] * len(completions)\n")
    (directory / "sweep").mkdir()
    words = ["-m", "seed=1,2", "+reward.terms.own={fn: mine.py:f, weight: 0.0}"]
    (directory / "sweep" / "command.json").write_text(json.dumps({"command": "ppo", "words": words}))


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 6, "rlnlp resume sweep reward.terms.own.fn=mine.py:f"),
        (["algo.total_steps=3"], 2, "rlnlp resume sweep/NUMBER key=value"),
        (["reward.terms.own.fn=mine.py:f", "seed=3"], 2, "'seed=3' would change the settings of a sweep"),
        (["reward.terms.own.fn=other.py:f"], 2, "other.py"),
    ],
)
def test_code_that_a_sweep_names_is_named_again_and_its_settings_stay(words, code, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sweep_of_own_code(tmp_path)
    before = (tmp_path / "sweep" / "command.json").read_bytes()
    assert main(["resume", "sweep", *words]) == code
    assert told in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {"command.json"}
    assert (tmp_path / "sweep" / "command.json").read_bytes() == before


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"command": "guide", "words": []}', '{"command": "ppo", "words": 1}']
)
def test_a_command_file_that_is_none_is_refused(text, tmp_path, capsys):
    (tmp_path / "command.json").write_text(text)
    assert main(["resume", str(tmp_path)]) == 6
    assert str(tmp_path) in capsys.readouterr().err


def test_the_table_names_its_directory_on_one_line(seeds):
    place, _, out, _ = seeds
    assert f"outputs/sweeps/{next((place / 'outputs' / 'sweeps').iterdir()).name}\n" in out.replace(" \n", "\n")


@pytest.mark.slow
def test_a_job_that_fails_or_is_killed_stops_no_other_and_the_sweep_is_exit_10(deaths):
    directory, code, out, err = deaths
    assert code == 10
    assert [(job["exit_code"], job["status"]) for job in records(directory)] == [
        (7, "failed"), (137, "failed"), (0, "done"),
    ]  # fmt: skip
    facts = json.loads((directory / "a" / "2" / "run.json").read_text())
    assert (facts["status"], facts["result"]["after"]["terms"]["mine"]) == ("done", 1)
    table = out[out.rindex("\njob ") + 1 :].rstrip("\n").split("\n")
    assert [line.split()[:3] for line in table[1:]] == [
        ["0", "-1", "failed"], ["1", "9", "failed"], ["2", "0", "done"],
    ]  # fmt: skip
    assert "Traceback" not in err


@pytest.mark.slow
def test_the_failed_jobs_are_named_with_what_was_wrong(deaths):
    directory, _, _, err = deaths
    assert "rlnlp reinforce: reward term 'mine' raised ValueError: -1\n" in err
    assert err.rstrip("\n").split("\n")[-2:] == [
        f"job 0 failed with exit 7: see {directory.name}/a/0/train.log",
        f"job 1 failed with exit 137: see {directory.name}/a/1/train.log",
    ]


def test_a_setting_that_no_job_could_have_starts_no_job(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "-m", "algo=reinforce,pppo"]) == 2
    assert "no algo 'pppo'" in capsys.readouterr().err
    assert not list(tmp_path.rglob("job.json"))
