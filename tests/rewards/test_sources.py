"""Reward functions read as source: what is said of them before they are run is what running them says."""

import pytest

from rlnlp.config.reward import REWARDS
from rlnlp.errors import Failure
from rlnlp.rewards.arguments import Parameters, wanted_by
from rlnlp.rewards.builtin import MODEL_REWARDS
from rlnlp.rewards.sources import model_arguments, user_parameters
from rlnlp.rewards.user import Loader

SOURCE = """
open("canary", "w").close()
import functools
from math import *
def plain(prompts, completions, *, word, more=1): return []
def anything(completions, **columns): return []
@functools.cache
def decorated(a): return []
async def waits(completions): return []
def twice(a): return []
def twice(b): return []
other = lambda completions: []
if True:
    def inside(completions): return []
def by_position(completions, /, word): return []
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("1 / 0\n")
    (tmp_path / "package" / "inner.py").write_text("def f(completions, topic): return []\n")
    yield tmp_path
    assert not (tmp_path / "canary").exists(), "the source was run"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("plain", Parameters({"prompts": True, "completions": True, "word": True, "more": False}, False)),
        ("anything", Parameters({"completions": True}, True)),
        ("waits", Parameters({"completions": True}, False)),
        *((name, None) for name in ("decorated", "twice", "other", "inside", "by_position", "sqrt")),
    ],
)
@pytest.mark.parametrize("source", ["mine.py", "mine"])
def test_what_a_function_can_be_given_is_read_where_the_source_is_certain(source, name, parameters, mine):
    assert user_parameters("x", f"{source}:{name}") == parameters


def test_a_module_in_a_package_is_read_without_importing_the_package(mine):
    assert user_parameters("x", "package.inner:f") == Parameters({"completions": True, "topic": True}, False)


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("nowhere.py:f", 2, "reward.terms.x.fn: no such file: nowhere.py"),
        ("mine.py:", 2, "reward.terms.x.fn: must be file.py:function or module:function, got 'mine.py:'"),
        ("nowhere.f:f", 2, "reward.terms.x.fn: nowhere.f cannot be imported: ModuleNotFoundError: "),
        ("package.nowhere:f", 2, "reward.terms.x.fn: package.nowhere cannot be imported: ModuleNotFoundError: "),
        ("plain.py:g", 2, "reward.terms.x.fn: plain.py has no function 'g'"),
        ("broken.py:f", 7, "reward.terms.x.fn: broken.py cannot be imported: SyntaxError: "),
    ],
)
def test_what_is_not_there_is_told_in_the_words_of_running_it(path, code, message, mine):
    (mine / "plain.py").write_text("def f(completions): return []\n")
    (mine / "broken.py").write_text("def f(:\n")
    with pytest.raises(Failure) as early:
        user_parameters("x", path)
    assert (early.value.code, str(early.value)[: len(message)]) == (code, message)
    if not path.startswith(("mine", "package")):  # to load these is to run them
        with pytest.raises(Failure) as late:
            Loader().function("x", path)
        assert (late.value.code, str(late.value).split(": ")[:2]) == (code, str(early.value).split(": ")[:2])


@pytest.mark.parametrize("text", ["globals()['f'] = len\n", "from os.path import *\n", "for f in [len]: pass\n"])
def test_a_name_that_may_be_there_is_left_to_running_it(text, mine):
    (mine / "odd.py").write_text(text)
    assert user_parameters("x", "odd.py:f") is None


def test_a_package_that_moves_its_modules_is_left_to_running_it(mine):
    (mine / "moved").mkdir()
    (mine / "moved" / "__init__.py").write_text("__path__.append('elsewhere')\n")
    assert user_parameters("x", "moved.inner:f") is None


@pytest.mark.parametrize("fn", MODEL_REWARDS)
def test_arguments_of_terms_of_models_are_read_as_importing_them_gives_them(fn):
    given = ("name", "context")
    read = [each for each in model_arguments(fn) if each.name not in given]
    assert read == [each for each in wanted_by(MODEL_REWARDS[fn]) if each.name not in given]
    assert fn in REWARDS
    assert read
