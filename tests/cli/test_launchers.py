"""Each launcher and sweeper with its real package: a job that is killed stops no other, and the best is found."""

import json
import os
import sys
from importlib.util import find_spec

import pytest
import yaml

from support.small import ROOT, rlnlp, write_prompts

PLUGINS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit": ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=30"],
    "ray": ["hydra/launcher=ray", "+hydra.launcher.ray.init.include_dashboard=false"],
}
DYING = """
import os, signal

def f(completions, value):
    if value < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return [value] * len(completions)
"""


def needs(name, part):
    there = find_spec("hydra_plugins") is not None and find_spec(f"hydra_plugins.hydra_{name}_{part}") is not None
    return pytest.mark.skipif(not there, reason=f"needs a plugin of Hydra's: pip install 'rlnlp[{name}]'")


def swept(place, model_dir, *more):
    (place / "dying.py").write_text(DYING)
    write_prompts(place / "p.jsonl", 20)
    (place / "own" / "reward").mkdir(parents=True)
    reward = {"terms": {"own": {"fn": "dying.py:f", "weight": 1.0, "args": {"value": 0.0}}}, "workers": 0}
    (place / "own" / "reward" / "dying.yaml").write_text(yaml.safe_dump(reward))
    return rlnlp(
        "reinforce", "-m", f"model.path={model_dir}", "data.prompts=p.jsonl", "algo.total_steps=1", "algo.batch_size=2",
        "sampler.max_new_tokens=4", "heldout.size=2", "device=cpu", "hydra.sweep.dir=s", "--config-dir=own",
        "reward=dying", *more, cwd=place, timeout=1800,
        env={"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},  # whose packages may be anywhere
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name, "launcher")) for name in PLUGINS])
def test_a_job_that_is_killed_stops_no_other(name, tmp_path, model_dir):
    code, out, err = swept(tmp_path, model_dir, *PLUGINS[name], "reward.terms.own.args.value=0.0,-1.0,2.0")
    assert code == 10, err
    jobs = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert [(job["job"], job["exit_code"]) for job in jobs] == [(0, 0), (1, 137), (2, 0)]
    assert "job 1 failed with exit 137" in err
    assert "score of responses" in out


@pytest.mark.slow
@needs("optuna", "sweeper")
def test_optuna_finds_the_highest_score_and_goes_on_after_a_job_that_is_killed(tmp_path, model_dir):
    values = "reward.terms.own.args.value=choice(1.0,-1.0,3.0,2.0)"
    code, _, err = swept(
        tmp_path, model_dir, "hydra/sweeper=optuna", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=4", values
    )
    assert code == 10, err
    assert len(json.loads((tmp_path / "s" / "sweep.json").read_text())) == 4
    found = yaml.safe_load((tmp_path / "s" / "optimization_results.yaml").read_text())
    assert {key.lstrip("+"): value for key, value in found["best_params"].items()} == {
        "reward.terms.own.args.value": 3.0
    }
    assert found["best_value"] == pytest.approx(3.0)
