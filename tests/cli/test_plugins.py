"""Launchers and sweepers of other packages: told when missing; what a job returns; jobs without a record."""

import json
from types import SimpleNamespace

import pytest

from rlnlp.cli import job, plugins
from rlnlp.cli.sweep import summary
from rlnlp.cli.sweep_progress import SweepProgress
from rlnlp.errors import Exit, Failure


@pytest.mark.parametrize(
    ("word", "extra"),
    [
        ("hydra/launcher=joblib", "joblib"),
        ("hydra/launcher=submitit_local", "submitit"),
        ("hydra/launcher=submitit_slurm", "submitit"),
        ("hydra/launcher=ray", "ray"),
        ("hydra/sweeper=optuna", "optuna"),
    ],
)
def test_a_plugin_that_is_missing_is_told_with_its_extra(word, extra, monkeypatch):
    def none(module):
        raise ModuleNotFoundError("No module named 'hydra_plugins'")

    for missing in (none, lambda module: None):
        monkeypatch.setattr(plugins, "find_spec", missing)
        with pytest.raises(Failure) as failure:
            plugins.check_plugins(["seed=1,2", word])
        what = f"{word} needs a plugin of Hydra's\ninstall it: pip install 'rlnlp[{extra}]'"
        assert (failure.value.code, str(failure.value)) == (Exit.CONFIG, what)
    asked = []
    monkeypatch.setattr(plugins, "find_spec", lambda module: asked.append(module) or module)
    plugins.check_plugins(["hydra/launcher=basic", word, "hydra.launcher.n_jobs=2"])
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("metrics", "reached"),
    [
        ({"score": 0.5, "kl": 2.0}, 0.5),
        ({"win_rate": 0.8, "score": 0.1}, 0.8),
        ({"accuracy": 0.7, "loss": 0.6}, 0.7),
        ({"loss": 1.5}, -1.5),
        ({}, None),
    ],
)
def test_of_what_a_job_returns_more_is_better(metrics, reached):
    difference = {name: {"mean": 0.1, "interval": None} for name in metrics}
    result = {"n": 4, "before": metrics, "after": metrics, "difference": difference}
    assert job._reached(result) == reached
    assert job._reached({}) is None


def test_a_job_that_a_sweeper_has_chosen_is_told_by_what_was_chosen():
    typed = ["seed=1", "++algo.kl_coef=choice(0.1,0.2)", "hydra/sweeper=optuna"]
    assert job._chosen(["seed=1", "algo.kl_coef=0.2"], typed) == ["algo.kl_coef=0.2"]


def test_a_sweeper_that_would_look_for_the_worst_is_refused():
    for sweeper in ({}, {"direction": "maximize"}, {"direction": "Direction.maximize"}):
        plugins.check_direction(Node(sweeper))
    for direction in ("minimize", "Direction.minimize", "['maximize', 'minimize']"):
        with pytest.raises(Failure, match=r"set hydra\.sweeper\.direction=maximize$") as failure:
            plugins.check_direction(Node({"direction": direction}))
        assert failure.value.code == Exit.CONFIG


def test_optuna_is_told_to_maximize_and_to_go_on_unless_the_user_says_otherwise():
    words = ["seed=1", "hydra/sweeper=optuna", "hydra.sweeper.max_failure_rate=0.5"]
    ours = ["hydra.sweeper.direction=maximize", "hydra.sweeper.max_failure_rate=1.0"]
    assert plugins.with_ours(words) == [*ours, *words]
    assert plugins.with_ours(["hydra/launcher=joblib"]) == ["hydra/launcher=joblib"]


class Node(SimpleNamespace):
    """Settings as OmegaConf gives them: with attributes, and with ``in``."""

    def __init__(self, values):
        super().__init__(**values)

    def __contains__(self, name):
        return name in vars(self)


def test_a_job_without_a_record_is_named_with_the_command_that_does_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "0"
    directory.mkdir()
    (directory / "job.json").write_text(json.dumps({"job": 0, "overrides": ["seed=1"], "exit_code": 0}))
    (directory / "run.json").write_text(json.dumps({"status": "done", "seconds": 1.0, "result": {}}))
    assert summary(tmp_path, [], (0,)) == Exit.DONE
    capsys.readouterr()
    for directories in ([], [directory, tmp_path / "1"]):
        assert summary(tmp_path, directories, (0, 1, 2)) == Exit.SWEEP
        told = capsys.readouterr().err
        assert told == f"jobs that were ended from outside or not begun: 1, 2; to do them: rlnlp resume {tmp_path}\n"


def test_a_job_is_counted_by_its_number_in_whatever_process_it_runs(tmp_path):
    progress = SweepProgress(4)
    assert progress.label(2, tmp_path, "seed=3").startswith("job 3 of 4 in ")
    progress.jobs, progress.seconds = 1, [100.0]
    assert progress.left() == "; about 5 minutes left"
    progress.process += 1  # as it is in the process of a launcher, beside which there are others
    assert progress.left() == ""
