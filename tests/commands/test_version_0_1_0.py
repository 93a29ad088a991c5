"""Runs that version 0.1.0 wrote and left in the middle are resumed and drawn from by the present code.

``support/version_0_1_0`` has a small model, data, a reward function, and a run of each algorithm of 4 steps, stopped
in step 4 with a checkpoint of step 2; ``expected/`` has the metrics that 0.1.0 wrote when it was not stopped.
"""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from rlnlp.cli.main import main
from rlnlp.config.migrate import CONFIG_VERSION
from rlnlp.run.manifest import read_config, read_facts
from support import runs

OLD = Path(__file__).parent.parent / "support" / "version_0_1_0"
MINE = "reward.terms.mine.fn=mine.py:short"
CLOSE = 1e-3  # relative: another machine rounds otherwise
RENAMED = {"score_deviation": "score_std"}  # metrics that have another name now


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of the folder, and a terminal there."""
    precision = torch.get_float32_matmul_precision()
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    yield tmp_path / "old"
    torch.set_float32_matmul_precision(precision)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def words(algo):
    return [MINE] if algo == "reinforce" else []


def drawn(capsys, algo, *more):
    capsys.readouterr()
    assert main(["generate", algo, "b", "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("algo", ["sft", "reinforce", "ppo"])
def test_a_run_of_0_1_0_is_resumed_to_its_end_with_the_figures_of_0_1_0_and_drawn_from(algo, old, capsys):
    assert "config_version" not in (old / algo / "config.yaml").read_text()
    assert "in_a_row" in (old / algo / "checkpoints" / "step-00000002" / "state.json").read_text()
    runs.go_on(Path(algo), *words(algo))
    expected, found = lines(old / "expected" / f"{algo}.jsonl"), lines(old / algo / "metrics.jsonl")
    assert found[:2] == expected[:2], "what 0.1.0 wrote stays"
    now = [{RENAMED.get(name, name): value for name, value in row.items()} for row in expected[2:]]
    assert [list(row) for row in found[2:]] == [list(row) for row in now]
    for row, wanted in zip(found[2:], now, strict=True):
        for name, value in wanted.items():
            assert math.isclose(row[name], value, rel_tol=CLOSE, abs_tol=1e-5), (row["step"], name)
    facts = read_facts(old / algo)
    assert (facts["status"], facts["steps"], facts["versions"]["rlnlp"] != "") == ("done", 4, True)
    assert "resuming after step 2" in (old / algo / "train.log").read_text()
    assert (old / algo / "config.yaml").read_text().startswith(f"config_version: {CONFIG_VERSION}\n")
    (response,) = drawn(capsys, algo, "sampler.max_new_tokens=4")
    assert response["prompt"] == "b"
    assert 1 <= response["tokens"] <= 4


def test_the_settings_of_0_1_0_have_their_present_names(old):
    sft, reinforce, ppo = (read_config(old / algo) for algo in ("sft", "reinforce", "ppo"))
    assert (sft.data.best_fraction, sft.algo.loss_temperature, sft.heldout.size) == (0.5, 1.125, 4)
    assert {name: term.fn for name, term in reinforce.reward.terms.items()} == {
        "optimality": "optimality",
        "mine": "mine.py:short",
    }
    assert {name: term.fn for name, term in ppo.reward.terms.items()} == {"again": "pattern", "gold": "gold-accepted"}
    assert list(read_facts(old / "reinforce")["code"]) == [
        "reward.terms.optimality.fn",
        "reward.terms.mine.fn",
    ]


def test_what_the_package_has_is_not_asked_for_again_and_code_of_the_user_s_is(old, capsys):
    assert main(["resume", "reinforce"]) == 6
    assert capsys.readouterr().err.endswith(f"name it again:\n  rlnlp resume reinforce {MINE}\n")
    (old / "mine.py").write_text((old / "mine.py").read_text() + "\n")
    assert main(["resume", "reinforce", MINE]) == 6
    assert "reward.terms.mine.fn: its content differs from what " in capsys.readouterr().err


def test_settings_of_0_1_0_that_were_changed_since_are_refused(old, capsys):
    path = old / "ppo" / "config.yaml"
    path.write_text(path.read_text().replace("kl_coef: 0.02", "kl_coef: 0.03"))
    assert main(["resume", "ppo"]) == 6
    assert "config.yaml is not as the run wrote it" in capsys.readouterr().err


def test_a_finished_run_of_0_1_0_is_drawn_from(old, capsys):
    shutil.copytree(old / "model", old / "ppo" / "policy")
    (response,) = drawn(capsys, "ppo")
    assert 1 <= response["tokens"] <= 6, "the run's own sampler"


@pytest.mark.parametrize(
    ("algo", "word", "line"),
    [
        ("sft", "data.best=0.5", "data.best is now data.best_fraction"),
        ("sft", "algo.fit_temperature=2", "algo.fit_temperature is now algo.loss_temperature"),
        ("ppo", "heldout.prompts=2", "heldout.prompts is now heldout.size"),
    ],
)
def test_an_old_name_on_the_command_line_is_exit_2_with_the_new_one(algo, word, line, old, capsys):
    assert main(["resume", algo, word]) == 2
    assert capsys.readouterr().err == f"rlnlp resume: {line}\n"
