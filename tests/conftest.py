"""One torch thread everywhere, and a small real model on disk for the tests that need one."""

import gc
import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
import torch

from support import small

torch.set_num_threads(1)
hypothesis.settings.register_profile("rlnlp", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("rlnlp")
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:  # in a shell's background job, under nohup: runs would ignore it too
        signal.signal(number, lambda *_: None)


def pytest_configure(config):
    """No GPU but for the tests that are about one: others compare bits, and share the machine."""
    if config.getoption("markexpr") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With -n alone: half the files in each process, and then half of what the slower one has left.

    In small parts, as xdist deals them out, the fixtures of many files are made in every process.
    """
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getoption("dist") == "load" else None


def pytest_collection_finish():
    """What imports have made stays to the end: looking through it for garbage again and again takes a tenth."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk():
    """Nobody pulls the plug on these files: tests/run/test_storage.py has the processes whose syncs count."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def _precision():
    """A run sets the precision of float32 products for its process: put back behind each file of tests."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """A directory with a random Llama of 2 layers and its word tokenizer, as transformers saves them."""
    return small.save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def prompts_file(tmp_path):
    """Forty prompts with references and a column."""
    return small.write_prompts(tmp_path / "prompts.jsonl", 40)
