"""Every algorithm on a CUDA GPU, beside the CPU: by hand, ``pytest -m gpu``, on a machine that has one."""

import json

import pytest
import torch

from models.test_decoder import policy
from models.test_recorded_step import drawn, sharing
from support import runs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
BY_CLOCK = ("tokens_per_second", "seconds")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("cuda")


@pytest.fixture(scope="module")
def trained(place):
    """The small run of an algorithm on a device, each made once."""
    made = {}

    def run(algo, *device):
        if (algo, device) not in made:
            words = [word for word in runs.words(algo, place) if word != "device=cpu"]
            made[algo, device] = runs.run(runs.settings([*words, *device]), place / f"run{len(made)}")
        return made[algo, device]

    return run


def rows(directory):
    found = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in BY_CLOCK} for row in found]


@pytest.mark.parametrize("algo", runs.ALGORITHMS)
def test_the_first_step_has_the_figures_of_the_cpu(algo, trained):
    on_cpu, on_gpu = rows(trained(algo, "device=cpu")), rows(trained(algo, "device=cuda", "device.dtype=float32"))
    assert len(on_cpu) == len(on_gpu)
    for key, value in on_cpu[0].items():
        close = value if isinstance(value, str) else pytest.approx(value, rel=1e-3, abs=1e-4)
        assert on_gpu[0][key] == close, key


@pytest.mark.parametrize("algo", runs.ALGORITHMS)
def test_a_run_in_the_default_precision_is_taken_up_and_its_model_is_read_on_a_cpu(algo, trained, tmp_path):
    whole = trained(algo, "device=cuda")
    fast = torch.cuda.is_bf16_supported(including_emulation=False)
    assert f"computed in {'bfloat16' if fast else 'float32'}" in (whole / "train.log").read_text()
    facts = json.loads((whole / "run.json").read_text())
    assert facts["fingerprint"]["device"] == "cuda"
    assert facts["peak_memory_bytes"]["cuda"] > 0
    again = runs.broken_off(whole, tmp_path / "again", 3)
    runs.go_on(again)
    assert json.loads((again / "run.json").read_text())["status"] == "done"
    assert rows(again)[:3] == rows(whole)[:3]
    assert len(rows(again)) == len(rows(whole))
    moved = runs.broken_off(whole, tmp_path / "moved", 3)
    runs.go_on(moved, "device.name=cpu", "resume.allow=[device.name]")
    assert len(rows(moved)) == len(rows(whole))


@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral", "biased", "scaled"])
def test_a_recorded_step_draws_what_is_drawn_without(kind):
    plain, made = policy(kind), policy(kind)
    for each in (plain, made):
        each.lm.to("cuda")
    want, got = drawn(plain, "cuda"), drawn(sharing(made), "cuda")
    assert torch.equal(got.responses, want.responses)
    assert torch.equal(got.mask, want.mask)
