"""Each tracker with its real package: a run, and its resume from a step before the last that was sent."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlnlp.config.tracker import TRACKERS, Tracker
from rlnlp.run.tracking import beside
from rlnlp.run.tracking.tracker import FOLDER
from support.tracked_runs import a_run, take_step

ROOT = Path(__file__).resolve().parent.parent.parent
NEVER = SimpleNamespace(arrived=None)


def needs(name):
    spec = find_spec(name)
    there = spec is not None and spec.origin is not None
    return pytest.mark.skipif(not there, reason=f"{TRACKERS[name]} is not installed: pip install 'rlnlp[{name}]'")


def followed(directory, name, saved, offline=False):
    """The lines that a run, which goes on from the step ``saved`` and ends at once, prints."""
    told = []
    with beside.tracked(
        directory, "0123456789abcdef", Tracker(name, "a project", "a name", offline), saved, told.append, NEVER
    ):
        pass
    assert not [line for line in told if "warning" in line]
    return told


def resumed(directory, name, **more):
    """A run of 7 steps that was saved at step 4, and again from there to step 9, with other scores."""
    told = followed(a_run(directory, 7), name, 0, **more)
    lines = (directory / "metrics.jsonl").read_text().splitlines(keepends=True)
    (directory / "metrics.jsonl").write_text("".join(lines[:4]))
    for step in range(5, 10):
        take_step(directory, step, **{"score/a term": 0.25, "stage": "policy"})
    followed(directory, name, 4, **more)
    return told


def in_a_process(code, *words):
    """What ``code`` prints as JSON: in a process of its own, as packages of trackers change whatever imports them."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(autouse=True)
def _importable(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *(path for path in sys.path if path)]))
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(beside, "LIMIT", 600.0)


@needs("tensorboard")
@pytest.mark.slow
def test_tensorboard_shows_each_step_once_as_it_was_taken_last(tmp_path):
    told = resumed(tmp_path / "run", "tensorboard")
    assert told[-1] == f"TensorBoard: tensorboard --logdir {tmp_path}/run"
    code = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
found = EventAccumulator(sys.argv[1])
found.Reload()
data = plugin_data_pb2.HParamsPluginData()
content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
data.ParseFromString(content)
settings = {name: value.WhichOneof("kind") for name, value in data.session_start_info.hparams.items()}
scalars = {tag: [(e.step, round(e.value, 6)) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
print(json.dumps([scalars, settings]))
"""
    scalars, settings = in_a_process(code, tmp_path / "run" / FOLDER)
    assert scalars["score"] == [[step, step / 10] for step in range(1, 10)]
    assert scalars["score/a term"] == [[step, 0.25] for step in range(5, 10)]
    assert scalars["timing/seconds"] == [[step, 1.0] for step in range(1, 10)]
    assert scalars["result/after/score"] == [[9, 0.5]]
    assert settings == {"algo.name": "string_value", "algo.token": "string_value", "seed": "number_value"}


@needs("mlflow")
@pytest.mark.slow
def test_mlflow_keeps_each_step_once_in_one_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/store.db")
    told = resumed(tmp_path / "run", "mlflow")
    assert told[-1] == f"MLflow: run a name of the experiment a project in sqlite:///{tmp_path}/store.db"
    code = """
import json
from mlflow.tracking import MlflowClient
client = MlflowClient()
experiment = client.get_experiment_by_name("a project").experiment_id
runs = client.search_runs([experiment])
names = sorted(runs[0].data.metrics)
metrics = {name: [(m.step, m.value) for m in client.get_metric_history(runs[0].info.run_id, name)] for name in names}
info = runs[0].info
print(json.dumps([len(runs), info.run_name, info.status, runs[0].data.params, metrics]))
"""
    count, name, status, params, metrics = in_a_process(code)
    assert (count, name, status) == (1, "a name", "FINISHED")
    assert params == {"algo.name": "sft", "algo.token": "***", "seed": "3"}
    assert metrics["score"] == [[step, step / 10] for step in range(1, 10)]
    assert metrics["score/a term"] == [[8, 0.25], [9, 0.25]]  # 5 to 7 are there already, as they were taken first
    assert metrics["result/after/score"][-1] == [9, 0.5]


@needs("wandb")
@pytest.mark.slow
def test_wandb_offline_keeps_files_for_its_sync_with_each_step_once(tmp_path):
    told = resumed(tmp_path / "run", "wandb", offline=True)
    assert told[-1].startswith(f"W&B: wandb sync {tmp_path}/run/{FOLDER}/wandb/offline-run-")
    code = """
import json, sys
from pathlib import Path
from wandb.proto.wandb_internal_pb2 import Record

def records(path):  # LevelDB's log: blocks of 32 KiB, in which a record may be in pieces
    data, at, held = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        held += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield Record.FromString(held)
            held = b""

def values(items):
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}

runs, steps, summaries = [], [], []
for path in sorted(Path(sys.argv[1]).glob("offline-run-*/*.wandb")):
    for record in records(path):
        if record.HasField("run"):
            config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
            runs.append([record.run.run_id, record.run.display_name, record.run.project, config.get("algo")])
        if record.HasField("history"):
            steps.append({"step": record.history.step.num, **values(record.history.item)})
        if record.HasField("summary"):
            summaries.append(values(record.summary.update))
print(json.dumps([runs, steps, summaries]))
"""
    kept, steps, summaries = in_a_process(code, tmp_path / "run" / FOLDER / "wandb")
    assert {tuple(run[:3]) for run in kept} == {("0123456789abcdef", "a name", "a project")}
    assert kept[0][3] == {"name": "sft", "token": "***"}
    assert [(row["step"], row["score"]) for row in steps] == [(step, step / 10) for step in range(1, 10)]
    assert steps[-1]["stage"] == "policy"
    assert any("result" in "".join(each) for each in summaries)
