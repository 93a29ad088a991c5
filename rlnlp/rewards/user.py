"""Load a user's reward function: ``file.py:function`` or ``package.module:function``."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Collection
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from rlnlp.errors import Exit, Failure, describe, one_line
from rlnlp.rewards.sources import split_path

_BESIDE: set[str] = set()  # modules that were loaded because they are beside a user's file


class Loader:
    """Loads functions; a file that several are from is run once.

    A file is a module of its own name, which other processes can import, and it can import what is beside it. Its
    folder is the last where modules are looked for: no module of Python or of a package is hidden by one in there.
    """

    def __init__(self) -> None:
        self._files: dict[Path, ModuleType] = {}
        for name in _BESIDE:  # of an earlier run in this process: they may have changed since
            sys.modules.pop(name, None)
        _BESIDE.clear()

    def function(self, name: str, path: str) -> tuple[Callable[..., Any], str]:
        """The function at ``path`` of the term ``name``, and the sha256 of its source file. This runs the file's code.

        Raises:
            Failure: exit 2, if there is no such file or function; exit 7, if the file's own code fails.
        """
        source, function = split_path(name, path)
        try:
            module = self._file(Path(source).expanduser()) if source.endswith(".py") else _module(source)
        except FileNotFoundError as error:
            raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: no such file: {source}") from error
        except (Exception, SystemExit) as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            code = Exit.CONFIG if missing and source.startswith(missing) else Exit.REWARD
            why = f"{describe(error)}{_hidden(Path(source), error)}"
            raise Failure(code, f"reward.terms.{name}.fn: {source} cannot be imported: {why}") from error
        loaded = vars(module).get(function)
        if not callable(loaded):
            raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: {source} has no function '{function}'")
        file = Path(vars(module).get("__file__") or "")
        return loaded, hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""

    def _file(self, path: Path) -> ModuleType:
        if not path.is_file():
            raise FileNotFoundError(path)
        file = path.resolve()
        if file not in self._files:
            before = {name.partition(".")[0] for name in sys.modules}
            self._files[file] = _run(file)
            _BESIDE.update(name for name in set(sys.modules) if _is_beside(name, file.parent, before))
        return self._files[file]


def _is_beside(name: str, folder: Path, before: Collection[str]) -> bool:
    """True for a module that is in ``folder`` or in a package there, unless its package was loaded before."""
    top = name.partition(".")[0]
    found = sys.modules.get(top)
    file = vars(found).get("__file__") if found is not None and top not in before else None
    return file is not None and folder in (Path(file).parent, Path(file).parent.parent)


def _run(file: Path) -> ModuleType:
    """The module of ``file``, run anew: what an earlier run in this process has left in it is gone."""
    _look_in(file.parent)
    name = _importable_name(file)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    earlier = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name)
        if earlier is not None:
            sys.modules[name] = earlier
        raise
    return module


def _importable_name(file: Path) -> str:
    """The name by which other processes import ``file``; one that only this process knows where all are taken."""
    for name, folder in ((file.stem, file.parent), (f"{file.parent.name}.{file.stem}", file.parent.parent)):
        if all(part.isidentifier() for part in name.split(".")):
            _look_in(folder)
            if _found(name) == file:
                return name
    return f"rlnlp_reward_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"


def _found(name: str) -> Path | None:
    """The file that ``import name`` would give, or has given."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # a module without a spec; a parent that is no package
        return None
    return Path(spec.origin).resolve() if spec is not None and spec.origin is not None else None


def _look_in(folder: Path) -> None:
    """Look for modules in ``folder`` too, where no other has them."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()


def _module(name: str) -> ModuleType:
    """A module, from the current folder first; what it imports comes from there last."""
    top, here = name.partition(".")[0], Path.cwd()
    _look_in(here)
    if top not in sys.modules and top not in sys.stdlib_module_names:
        spec = PathFinder.find_spec(top, [str(here)])
        if spec is not None and spec.loader is not None:
            sys.modules[top] = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(sys.modules[top])
            except BaseException:
                sys.modules.pop(top)
                raise
    return importlib.import_module(name)


def _hidden(source: Path, error: BaseException) -> str:
    """What to say if an import has found another module than the one beside the file."""
    name = error.name if isinstance(error, ImportError) and error.name else ""
    beside = source.expanduser().parent / f"{name.partition('.')[0]}.py"
    found = _found(name.partition(".")[0]) if name and beside.is_file() else None
    if found is None or found == beside.resolve():
        return ""
    return f"\n{one_line(str(beside), 120)} is hidden by {one_line(str(found), 120)}: give it another name"
