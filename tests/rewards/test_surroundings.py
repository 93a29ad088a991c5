"""What a user's function leaves changed in the process: training does not see it, and the function finds it again."""

import gc
import os
import random
import signal
import sys
import warnings
from contextlib import suppress

import numpy as np
import pytest
import torch

from rlnlp.rewards.functions import load_functions
from rlnlp.rewards.surroundings import Surroundings
from support.rewards import user_term


def noise():
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def seed(number):
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002
    torch.manual_seed(number)


CHANGES = {  # how it is read, and what changes it
    "default dtype": (torch.get_default_dtype, lambda: torch.set_default_dtype(torch.bfloat16)),
    "default device": (lambda: str(torch.get_default_device()), lambda: torch.set_default_device("meta")),
    "gradient mode": (torch.is_grad_enabled, lambda: torch.set_grad_enabled(not torch.is_grad_enabled())),
    "threads": (torch.get_num_threads, lambda: torch.set_num_threads(torch.get_num_threads() + 1)),
    "precision": (torch.get_float32_matmul_precision, lambda: torch.set_float32_matmul_precision("high")),
    "deterministic": (
        torch.are_deterministic_algorithms_enabled, lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    ),
    "anomaly": (torch.is_anomaly_enabled, lambda: torch.autograd.set_detect_anomaly(True)),
    "cudnn": (lambda: torch.backends.cudnn.benchmark, lambda: setattr(torch.backends.cudnn, "benchmark", True)),
    "folder": (os.getcwd, lambda: os.chdir("/")),
    "environment": (lambda: os.environ.get("REWARD"), lambda: os.environ.update(REWARD="1")),
    "path": (lambda: "/mine" in sys.path, lambda: sys.path.insert(0, "/mine")),
    "recursion limit": (sys.getrecursionlimit, lambda: sys.setrecursionlimit(5000)),
    "collector": (gc.isenabled, gc.disable),
    "numpy's errors": (np.geterr, lambda: np.seterr(all="ignore")),
    "warnings": (lambda: len(warnings.filters), lambda: warnings.simplefilter("error", UserWarning)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_function_changes_is_there_in_its_next_call_and_never_in_training(name):
    read, change = CHANGES[name]
    surroundings, ours = Surroundings(), read()
    with surroundings.apart():
        change()
        theirs = read()
    assert theirs != ours
    assert read() == ours
    with suppress(ZeroDivisionError), surroundings.apart():
        assert read() == theirs
        raise ZeroDivisionError
    assert read() == ours


def test_random_numbers_of_a_function_go_on_and_those_of_the_process_too():
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        seed(1)
        expected = [noise() for _ in range(2)]
        seed(2)
        alone = [noise() for _ in range(2)]
        seed(1)
        surroundings = Surroundings()
        first = noise()
        with surroundings.apart():
            seed(2)
            drawn = [noise()]
        second = noise()
        with surroundings.apart():
            drawn.append(noise())
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        torch.set_rng_state(kept[2])
    assert [first, second] == expected
    assert drawn == alone


def test_handlers_of_signals_stay_those_of_the_run_and_an_alarm_that_is_left_does_not_end_the_process():
    surroundings, ours = Surroundings(), signal.getsignal(signal.SIGTERM)
    with surroundings.apart():
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.alarm(100)
    assert signal.getsignal(signal.SIGTERM) == ours
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with surroundings.apart():
        assert signal.getsignal(signal.SIGTERM) == ours


def test_output_that_a_function_redirects_comes_back():
    ours = sys.stdout
    with Surroundings().apart():
        sys.stdout = sys.stderr
    assert sys.stdout is ours


def test_a_file_that_sets_the_default_type_changes_no_score_of_another_term(rollout, tmp_path):
    source = "import torch\ntorch.set_default_dtype(torch.bfloat16)\n"
    source += (
        "def f(completions):\n    return [float(torch.get_default_dtype() == torch.bfloat16)] * len(completions)\n"
    )
    (tmp_path / "mine.py").write_text(source)
    loaded = load_functions({"t": f"{tmp_path / 'mine.py'}:f"}, Surroundings().apart)
    assert torch.get_default_dtype() == torch.float32
    values = user_term(loaded["t"])(rollout)
    assert (values.tolist(), values.dtype) == ([1, 1, 1], torch.float32)
