"""Reward functions read as source and not run: whether there is such a function, and what it can be given."""

import ast
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import NoneType
from typing import Any, Literal

from rlnlp.config.reward import REWARDS
from rlnlp.errors import Exit, Failure, describe, one_line
from rlnlp.models.locate import locate_reward_model, resolve, saved_reward_model
from rlnlp.rewards.arguments import Parameters, Wanted, arguments

TYPES: dict[str, Any] = {"int": int, "str": str, "float": float, "bool": bool, "None": NoneType}
HIDES_NAMES = {"exec", "globals", "vars", "setattr", "locals"}  # a module that calls one may define any name
PACKAGE = Path(__file__).resolve().parent.parent.parent


def user_parameters(name: str, path: str) -> Parameters | None:
    """What the user's function ``file.py:function`` or ``module:function`` can be given; None if only running it tells.

    Raises:
        Failure: exit 2, if there is no such file, module or function; exit 7, if the source is not valid Python.
    """
    source, function = split_path(name, path)
    file = Path(source).expanduser() if source.endswith(".py") else _file_of_module(name, source)
    if file is None:
        return None
    if not file.is_file():
        raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: no such file: {source}")
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError, RecursionError, OSError) as error:
        raise Failure(Exit.REWARD, f"reward.terms.{name}.fn: {source} cannot be imported: {describe(error)}") from error
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = [node for node in found if node.name == function]
    if not found and not _may_define(tree, function):
        raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: {source} has no function '{function}'")
    if len(found) != 1 or found[0].decorator_list or _bound(tree).count(function) != 1:
        return None
    return _parameters(found[0].args)


def split_path(name: str, path: str) -> tuple[str, str]:
    """File or module, and function, of ``path``.

    Raises:
        Failure: exit 2, if it has not both.
    """
    source, _, function = path.rpartition(":")
    if not source or not function:
        raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: must be file.py:function or module:function, got '{path}'")
    return source, function


def one_source(name: str, given: Mapping[str, str | None]) -> tuple[str, str]:
    """The full key of the one argument of the term ``name`` that says where its model is, and its value.

    Raises:
        Failure: exit 2, if several of them are given, or none; exit 4, for a run that is not there.
    """
    named = [(word, source) for word, source in given.items() if source is not None]
    if len(named) != 1:
        key, ways = f"reward.terms.{name}.args", " or ".join(f"reward.terms.{name}.args.{word}=..." for word in given)
        found = " and ".join(word for word, _ in named)
        what = f"{key}: {found} are two reward models; give one of them" if named else f"{key} names no reward model"
        raise Failure(Exit.CONFIG, f"{what}\ngive {ways}" if not named else what)
    word, source = named[0]
    if word == "run" and not Path(source).expanduser().is_dir():
        what = f"reward.terms.{name}.args.run '{one_line(source)}' not found (no such directory)"
        raise Failure(
            Exit.MODEL, f"{what}\nif the run was moved, say where it is now: reward.terms.{name}.args.run=DIR"
        )
    return f"reward.terms.{name}.args.{word}", source


def check_model_arguments(name: str, fn: str, args: Mapping[str, Any]) -> None:
    """Check the arguments of the built-in term ``name`` that is made of a model, and that the model is there.

    Raises:
        Failure: exit 2, for arguments that it cannot use; exit 4, for a model that is missing.
    """
    given = arguments(f"reward.terms.{name}.args", model_arguments(fn), args, ("name", "context"))
    allow = given["allow_download"]
    if "run" in given:
        locate_reward_model(*one_source(name, {"run": given["run"], "path": given["path"]}), allow)
    elif given["path"] is not None and saved_reward_model(given["path"]) is None:
        resolve(f"reward.terms.{name}.args.path", given["path"], "config.json", allow)


def model_arguments(fn: str) -> list[Wanted]:
    """The arguments of a built-in term that is made of a model, whose module would import torch."""
    module, _, function = REWARDS[fn].partition(":")
    tree = ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    node = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    names = node.args.args
    defaults: list[ast.expr | None] = [None] * (len(names) - len(node.args.defaults))
    return [
        Wanted(each.arg, *_type(each.annotation), {} if value is None else {"default": ast.literal_eval(value)})
        for each, value in zip(names, [*defaults, *node.args.defaults], strict=True)
    ]


def _type(node: ast.expr | None) -> tuple[Any, dict[str, Any]]:
    """An annotation of numbers, texts and choices, and its limits; for any other it is only certain that it is one."""
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Annotated":
        assert isinstance(node.slice, ast.Tuple)
        return _type(node.slice.elts[0])[0], ast.literal_eval(node.slice.elts[1])
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
        choices = ast.literal_eval(node.slice)
        return Literal.__getitem__(choices), {}
    if isinstance(node, ast.BinOp):
        return _type(node.left)[0] | _type(node.right)[0], {}
    return TYPES.get(ast.unparse(node) if node else "", Any), {}


def _parameters(of: ast.arguments) -> Parameters | None:
    """None if an argument cannot be given by keyword."""
    defaults: list[ast.expr | None] = [None] * (len(of.args) - len(of.defaults))
    pairs = zip([*of.args, *of.kwonlyargs], [*defaults, *of.defaults, *of.kw_defaults], strict=True)
    if of.posonlyargs:
        return None
    return Parameters({each.arg: default is None for each, default in pairs}, of.kwarg is not None)


def _bound(tree: ast.Module) -> list[str]:
    """The names that are bound anywhere in the module, each as often as it is."""
    return list(_names(tree))


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id


def _may_define(tree: ast.Module, function: str) -> bool:
    """True if the name is bound somewhere, or the module can define names that its source does not show."""
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    names = _bound(tree)
    return function in names or "*" in names or bool(called & HIDES_NAMES)


def _file_of_module(name: str, module: str) -> Path | None:
    """The source of a module, which is not imported, nor are the packages that it is in; None if it has none.

    Raises:
        Failure: exit 2, if there is no such module.
    """
    spec: ModuleSpec | None = None
    above = ""
    for part in module.split("."):
        full = f"{above}.{part}".lstrip(".")
        places = None if spec is None else spec.submodule_search_locations
        if spec is not None and (places is None or _moves(spec)):
            return None
        spec = _top(full) if spec is None else PathFinder.find_spec(full, list(places or ()))
        if spec is None:
            error = ModuleNotFoundError(f"No module named '{full}'")
            raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: {module} cannot be imported: {describe(error)}")
        above = full
    origin = spec.origin if spec is not None else None
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def _top(module: str) -> ModuleSpec | None:
    """The spec of a module that is in no package: from the current directory, or as Python finds it."""
    try:
        return PathFinder.find_spec(module, [str(Path.cwd()), *sys.path]) or importlib.util.find_spec(module)
    except (ImportError, ValueError):  # find_spec of what is loaded without a spec, such as __main__
        return None


def _moves(spec: ModuleSpec) -> bool:
    """True if a package changes where its modules are looked for."""
    file = Path(spec.origin or "")
    return file.suffix == ".py" and "__path__" in file.read_text(encoding="utf-8", errors="replace")
