"""A user's file as a module: it imports what is beside it, other processes import it, and it hides nothing."""

import os
import random
import subprocess
import sys

import pytest

from rlnlp.rewards.functions import load_functions
from rlnlp.rewards.surroundings import Surroundings
from rlnlp.rewards.user import Loader
from support.rewards import fails, user_term
from support.small import ROOT

LENGTH = "def length(text):\n    return float(len(text))\n"
BESIDE = "from {name} import length\n\ndef f(completions):\n    return [length(text) for text in completions]\n"


def loaded(path):
    return load_functions({"t": str(path)}, Surroundings().apart)["t"]


def test_a_file_imports_a_module_beside_it_and_finds_it_again_when_it_is_called(rollout, tmp_path):
    (tmp_path / "beside_me.py").write_text(LENGTH)
    (tmp_path / "late_beside.py").write_text(LENGTH.replace("float(", "1 + float("))
    (tmp_path / "importing.py").write_text(
        BESIDE.format(name="beside_me")
        + "\ndef late(completions):\n    from late_beside import length\n    return [length(t) for t in completions]\n"
    )
    path = list(sys.path)
    assert user_term(loaded(tmp_path / "importing.py:f"))(rollout).tolist() == [3, 9, 0]
    assert user_term(loaded(tmp_path / "importing.py:late"))(rollout).tolist() == [4, 10, 1]
    assert sys.path == path, "training looks for modules where it did"


def test_each_run_in_a_process_reads_what_is_beside_its_own_file(rollout, tmp_path):
    for name, more in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "beside.py").write_text(LENGTH.replace("float(", f"{more} + float("))
        (tmp_path / name / "same.py").write_text(BESIDE.format(name="beside"))
    found = [user_term(loaded(tmp_path / name / "same.py:f"))(rollout).tolist() for name in ("one", "two", "one")]
    assert found == [[4, 10, 1], [5, 11, 2], [4, 10, 1]]


def test_two_files_of_the_same_name_are_two_modules_and_one_file_is_run_once(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "twice.py").write_text("def f(completions): return []\ndef g(completions): return []\n")
    loader = Loader()
    with Surroundings().apart():
        f, g, other = (
            loader.function("t", f"{tmp_path}/{path}")[0] for path in ("a/twice.py:f", "a/twice.py:g", "b/twice.py:f")
        )
    assert f.__globals__ is g.__globals__
    assert f.__globals__ is not other.__globals__


def test_a_file_named_like_a_module_of_python_hides_it_from_nobody(rollout, tmp_path):
    source = (
        "import this_is_beside, colorsys\n\ndef f(completions):\n    return [hasattr(colorsys, 'rgb_to_hsv')] * 3\n"
    )
    (tmp_path / "random.py").write_text(source)
    (tmp_path / "colorsys.py").write_text("")
    (tmp_path / "this_is_beside.py").write_text("")
    sys.modules.pop("colorsys", None)
    assert user_term(loaded(tmp_path / "random.py:f"))(rollout).tolist() == [1, 1, 1]
    assert sys.modules["random"] is random


def test_a_module_beside_a_file_that_another_hides_is_told(tmp_path):
    (tmp_path / "statistics.py").write_text(LENGTH)
    (tmp_path / "asks.py").write_text(BESIDE.format(name="statistics"))
    message = fails(7, "cannot import name 'length'", loaded, tmp_path / "asks.py:f")
    assert f"{tmp_path / 'statistics.py'} is hidden by " in message


@pytest.mark.parametrize("folder", ["plain", "named_like_one_of_python"])
def test_a_pool_of_new_processes_finds_the_functions_of_the_file(folder, tmp_path):
    (tmp_path / folder).mkdir()
    file = tmp_path / folder / ("pooling.py" if folder == "plain" else "random.py")
    file.write_text(
        f"import multiprocessing\n\n{LENGTH}\n"
        "def f(completions):\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        return pool.map(length, completions)\n"
    )
    code = (
        "from rlnlp.rewards.call import Batch\n"
        "from rlnlp.rewards.functions import load_functions\n"
        "from contextlib import nullcontext\n"
        "if __name__ == '__main__':\n"
        f"    found = load_functions({{'t': {str(file) + ':f'!r}}}, nullcontext)['t']\n"
        "    print(found.callee.call(Batch({'completions': ['a', 'bc']}, [1, 1], [0, 1]), {}))\n"
    )
    (tmp_path / "script.py").write_text(code)
    words, environment = [sys.executable, tmp_path / "script.py"], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.stdout == "[1.0, 2.0]\n", done.stderr
