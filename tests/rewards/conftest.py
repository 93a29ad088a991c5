"""Fixtures for the tests of rewards."""

import sys

import pytest
import torch

from rlnlp.types import Rollout
from support import small


@pytest.fixture
def rollout():
    """Three responses, the second with a hole in its mask."""
    prompts = small.prompts([1, 5], [1, 6], [1, 7])
    mask = torch.tensor([[True, True, False], [True, False, True], [True, False, False]])
    return Rollout(prompts, torch.ones(3, 3).long(), mask, torch.cat([prompts.mask, mask], 1), torch.ones(3).bool())


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    """Undo what user code and ``train`` change in the interpreter."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    precision = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(precision)
