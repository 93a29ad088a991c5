"""Load a user's reward function: ``file.py:function`` or ``package.module:function``."""

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
    """The function at ``path``, and the sha256 of its source file. This runs the file's code.

    Raises:
        Failure: exit 2, if there is no such file or function; exit 7, if the file's own code fails.
    """
    source, _, function = path.rpartition(":")
    if not source or not function:
        raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: must be file.py:function or module:function, got '{path}'")
    try:
        module = _file(Path(source).expanduser()) if source.endswith(".py") else _module(source)
    except FileNotFoundError as error:
        raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: no such file: {source}") from error
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name is not None and source.startswith(error.name)
        code = Exit.CONFIG if missing else Exit.REWARD
        raise Failure(code, f"reward.terms.{name}.fn: {source} cannot be imported: {describe(error)}") from error
    loaded = vars(module).get(function)
    if not callable(loaded):
        raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: {source} has no function '{function}'")
    if inspect.iscoroutinefunction(loaded):
        raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: '{function}' is async; write a plain function")
    file = Path(vars(module).get("__file__") or "")
    return loaded, hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


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
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)  # installed commands do not have the current directory in the path
    return importlib.import_module(name)
