"""``rlnlp compare``: what it prints, the files that it writes and where, and its answers to what is typed wrong."""

import json
import subprocess
import sys

import pytest

from rlnlp.cli.main import main
from rlnlp.commands.compare import directory_for
from support.small import ROOT
from support.stored import stored_run, stored_sweep

RATES = {f"algo.learning_rate={rate}": (0.5, 0.6, 0.7) for rate in ("1e-3", "3e-4")}
FILES = ["compare.csv", "compare.json", "compare.md", "curves.png", "frontier.png"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep of six runs, compared once: where it is, and what was printed."""
    directory = stored_sweep(tmp_path_factory.mktemp("compare") / "sweep", RATES, curve=(0.6, 0.7))
    words = [sys.executable, "-X", "importtime", "-m", "rlnlp", "compare", directory]
    return directory, subprocess.run(
        words, cwd=directory.parent, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )


def test_a_sweep_has_its_comparison_beside_its_jobs_and_torch_is_not_imported(sweep):
    directory, done = sweep
    assert done.returncode == 0
    assert sorted(path.name for path in directory.glob("*.*") if path.name != "command.json") == FILES
    assert done.stdout.endswith(
        f"written to {directory}/: compare.md, compare.json, compare.csv, curves.png, frontier.png\n"
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "numpy" in imported
    assert not {"torch", "transformers", "hydra"} & imported


def test_the_record_has_the_promised_keys_and_is_what_json_prints(sweep, capsys):
    directory, _ = sweep
    assert main(["compare", str(directory), "--json"]) == 0
    printed, written = json.loads(capsys.readouterr().out), json.loads((directory / "compare.json").read_text())
    assert printed == written | {"files": {}}
    assert written["files"] == {
        "markdown": f"{directory}/compare.md", "json": f"{directory}/compare.json", "csv": f"{directory}/compare.csv",
        "curves": f"{directory}/curves.png", "frontier": f"{directory}/frontier.png",
    }  # fmt: skip
    assert printed["settings"] == {"algo.learning_rate": [0.001, 0.0003], "seed": [0, 1, 2]}
    assert [run["score"] for run in printed["runs"]] == [0.5, 0.6, 0.7] * 2
    group = printed["groups"][0]
    assert (group["where"], group["n"], group["seeds"]) == ({"algo.learning_rate": 0.001}, 3, [0, 1, 2])
    assert group["score"] == pytest.approx(0.6)
    assert len(group["score_interval"]) == 2
    (pair,) = printed["pairs"]
    assert (pair["p"], pair["p_holm"], pair["verdict"], pair["paired"]) == (1.0, 1.0, "no difference shown", True)


def test_the_document_shows_the_pictures_beside_it(sweep):
    text = (sweep[0] / "compare.md").read_text()
    assert "![curves](curves.png)\n\n![frontier](frontier.png)" in text


def test_a_part_of_a_sweep_and_runs_by_name_go_to_a_directory_of_their_own(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    directory, _ = sweep
    assert directory_for([directory], [], None) == directory
    for paths, conditions in (([directory], ["seed=0"]), ([directory / "0", directory / "1"], [])):
        found = directory_for(paths, conditions, None)
        assert found.parent.parts == ("outputs", "compare")
    assert str(directory_for([directory], [], "mine")) == "mine"


def test_where_sort_and_files_of_one_s_own(sweep, tmp_path, capsys):
    directory, _ = sweep
    csv, document, place = tmp_path / "a.csv", tmp_path / "a.md", tmp_path / "new" / "place"
    words = ["compare", str(directory), "--where", "lr=1e-3", "seed=0,1", "--sort", "score", "--csv", str(csv)]
    assert main([*words, "--markdown", str(document), "--output", str(place)]) == 0
    assert "2 runs, 1 group of equal settings" in capsys.readouterr().out
    assert len(csv.read_text().splitlines()) == 3
    assert document.read_text().startswith("# Comparison\n")
    assert sorted(path.name for path in place.iterdir()) == FILES


def test_one_dash_prints_a_table_and_nothing_else(sweep, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(sweep[0]), "--where", "seed=0", "--csv", "-"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("run,measure,algo.learning_rate,metric,")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nowhere"], 6, "no run or sweep nowhere"),
        (["empty"], 6, "no run in empty"),
        (["unfinished"], 6, "no run is finished, so there is nothing to compare"),
        (["run", "seed=1"], 2, "'seed=1' is no run; to choose runs, type: --where seed=1"),
        (["run", "--where", "seed"], 6, "no run or sweep seed"),
        (["run", "--sort", "nothing"], 2, "no setting 'nothing' of these runs; what differs: nothing"),
        (["run", "--output", "file"], 5, "--output DIR chooses another directory"),
        (["run", "--csv", "nowhere/a.csv"], 5, "nowhere/a.csv cannot be written (No such file or directory)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_what_to_do(words, code, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    stored_run(tmp_path / "run", 0.6)
    stored_run(tmp_path / "unfinished", None, status="interrupted")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert main(["compare", *words]) == code
    assert told in capsys.readouterr().err


def test_a_directory_with_an_equals_sign_is_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    stored_run(tmp_path / "seed=1", 0.6)
    stored_run(tmp_path / "seed=2", 0.7, "seed=2")
    assert main(["compare", "seed=1", "--json", "--where", "algo=ppo", "seed=2"]) == 0
    assert [run["run"] for run in json.loads(capsys.readouterr().out)["runs"]] == ["seed=1", "seed=2"]


def test_jobs_are_in_the_order_of_their_numbers_and_a_run_named_twice_counts_once(tmp_path, capsys):
    directory = stored_sweep(tmp_path / "s", {"algo.batch_size=4": tuple(i / 100 for i in range(12))})
    assert main(["compare", str(directory), str(directory / "3"), "--json"]) == 0
    found = [run["seed"] for run in json.loads(capsys.readouterr().out)["runs"]]
    assert found == list(range(12))
