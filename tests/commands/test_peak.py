"""The memory that ``rlnlp check`` tells: of what it is made."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from rlnlp.algos.opening import DiskNeed
from rlnlp.commands.check import costs
from rlnlp.commands.check.findings import Report
from rlnlp.commands.check.peak import peak, restart_peak
from support import small

CPU, MB = torch.device("cpu"), 2**20


def test_a_peak_is_of_what_was_held_since_it_was_restarted():
    restart_peak(CPU)
    start = peak(CPU)
    held = torch.ones(64 * MB, dtype=torch.uint8)
    assert peak(CPU) >= start + 60 * MB
    del held
    restart_peak(CPU)
    assert peak(CPU) < start + 40 * MB


def test_what_the_process_held_that_started_this_one_is_not_its_own():
    shown = "import torch; from rlnlp.device import peak_memory; print(peak_memory(torch.device('cpu'))['process'])"
    code = f"import subprocess, sys; held = b'x' * (1 << 30); subprocess.run([sys.executable, '-c', {shown!r}])"
    done = subprocess.run([sys.executable, "-c", code], cwd=small.ROOT, capture_output=True, text=True, check=True)
    assert 2**26 < int(done.stdout) < 2**30


@pytest.mark.parametrize(("held", "want"), [(0, 1000 + 2 * 4 * 20), (5000, 5000)])
def test_memory_is_that_of_the_trials_and_of_the_optimizer_or_of_loading(held, want, monkeypatch):
    layer, order = torch.nn.Linear(4, 4), []
    config = SimpleNamespace(algo=SimpleNamespace(total_steps=2, further_steps=0, optimizer="adamw"))
    monkeypatch.setattr(costs, "restart_peak", lambda device: order.append("restart"))
    monkeypatch.setattr(costs, "peak", lambda device: order.append("peak") or 1000)
    monkeypatch.setattr(costs, "algo_of", lambda config, name: config.algo)
    monkeypatch.setattr(costs, "measurements", lambda config: 1)
    monkeypatch.setattr(costs, "disk_need", lambda config, modules: DiskNeed(1, 1, 1, 1, 1))
    around = SimpleNamespace(rows=SimpleNamespace(heldout=1))
    trial = lambda step: order.append("trial") or 100.0  # noqa: E731
    prepared = SimpleNamespace(parts={"policy": layer}, trial=trial, once=None, around=around)
    report = Report()
    costs.costs(config, small.ROOT, prepared, costs.Loading(1.0, held), 1.0, report)
    assert report.figures["memory_bytes"] == want
    assert order == ["restart", "trial", "peak"]


@pytest.mark.slow
def test_a_run_holds_about_as_much_as_the_check_says(tmp_path):
    size = ["model=fresh", "model.fresh={layers: 4, width: 384, heads: 6, context: 128}", "device=cpu"]
    steps = ["algo.total_steps=2", "heldout.size=8", "heldout.every=0", "algo.critic=separate", "algo=ppo"]
    steps += ["algo.batch_size=8"]
    said = json.loads(small.rlnlp("check", *size, *steps, "--json", cwd=tmp_path)[1])["memory_bytes"]
    small.rlnlp("train", *size, *steps, "hydra.run.dir=run", cwd=tmp_path)
    was = json.loads((tmp_path / "run" / "run.json").read_text())["peak_memory_bytes"]["process"]
    assert 0.6 < said / was < 1.6
