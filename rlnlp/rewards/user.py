"""A reward function by its path: ``file.py:function`` or ``package.module:function``."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from rlnlp.errors import Exit, Failure, describe


def load_function(name: str, path: str) -> tuple[Callable[..., Any], str]:
    """The function that ``path`` names, and the sha256 of its source file. This runs the file's code.

    Raises:
        Failure: exit 2 if there is no such file or function, exit 7 if the file's own code fails.
    """
    where, _, function = path.rpartition(":")
    if not where or not function:
        raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: want file.py:function or module:function, got '{path}'")
    try:
        module = _file(Path(where).expanduser()) if where.endswith(".py") else _module(where)
    except FileNotFoundError as error:
        raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: no such file: {where}") from error
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name is not None and where.startswith(error.name)
        code = Exit.CONFIG if missing else Exit.REWARD
        raise Failure(code, f"reward.terms.{name}.fn: {where} cannot be imported: {describe(error)}") from error
    found = vars(module).get(function)
    if not callable(found):
        raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: {where} has no function '{function}'")
    if inspect.iscoroutinefunction(found):
        raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: '{function}' is async; write a plain function")
    source = Path(vars(module).get("__file__") or "")
    return found, hashlib.sha256(source.read_bytes()).hexdigest() if source.is_file() else ""


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(path)
    key = f"rlnlp_reward_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec is not None
    assert spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    spec.loader.exec_module(module)
    return module


def _module(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # an installed command does not look in the current folder by itself
    return importlib.import_module(name)
