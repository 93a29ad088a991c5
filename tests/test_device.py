"""What is computed in where, with what this machine has not: a GPU is looked up, not used."""

import pytest
import torch

from rlnlp import device
from rlnlp.config.model import Device

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda:0", "mps"))


@pytest.mark.parametrize(
    ("name", "where", "has", "wanted"),
    [
        ("auto", CPU, True, torch.float32),
        ("auto", MPS, True, torch.float32),
        ("auto", CUDA, True, torch.bfloat16),
        ("auto", CUDA, False, torch.float32),
        ("float32", CUDA, True, torch.float32),
        ("bfloat16", CPU, False, torch.bfloat16),
    ],
)
def test_products_are_of_bfloat16_where_a_gpu_has_it(name, where, has, wanted, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has or including_emulation)
    assert device.compute_dtype(name, where) == wanted


@pytest.mark.parametrize(
    ("where", "amx", "precision"),
    [(CPU, False, "medium"), (CPU, True, "highest"), (CUDA, False, "highest"), (MPS, False, "highest")],
)
def test_float32_is_float32_everywhere_and_a_gpu_that_is_named_is_the_current_one(where, amx, precision, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(device, "find_device", lambda name: where)
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    torch.set_float32_matmul_precision("high")
    device.compute_device(Device("auto", 1, "auto", "none", "auto"))
    assert torch.get_float32_matmul_precision() == precision
    assert current == ([where] if where.type == "cuda" else []), "a certain GPU is the current one"
