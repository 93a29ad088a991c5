"""Where the package reads a setting: found in its source by the types that functions declare, without importing it."""

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from rlnlp.config import (
    algos,
    annotator,
    conversations,
    data,
    model,
    observing,
    reward,
    reward_model,
    rlhf,
    schema,
)
from rlnlp.config.setting import NAME, groups_in, settings

PACKAGE = Path(schema.__file__).resolve().parent.parent
TELLING = ("config/description.py", "algos/opening.py")  # they print settings: that something obeys them is not said
KINDS: dict[str, type] = {
    name: kind
    for module in (algos, annotator, conversations, data, model, observing, reward, reward_model, rlhf, schema)
    for name, kind in vars(module).items()
    if is_dataclass(kind) and isinstance(kind, type)
} | {"Trained": schema.Common}
Owner = tuple[str, str]  # the class that declares a setting, and the setting's name in it


@dataclass(frozen=True, order=True)
class Site:
    """A line of the source."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}".rstrip()


def owners() -> dict[str, set[Owner]]:
    """Every setting of every schema with the classes that declare it."""
    found: dict[str, set[Owner]] = defaultdict(set)

    def walk(declared: type, prefix: str) -> None:
        for full, kind, f in settings(declared, prefix):
            holders: list[type] = [declared]
            for part in full.removeprefix(prefix).split(".")[:-1]:
                hints = [get_type_hints(holder) for holder in holders]
                holders = [group for each in hints if part in each for group in groups_in(each[part])]
            found[full] |= {owner(holder, f.name) for holder in holders if f.name in get_type_hints(holder)}
            for inner in get_args(kind) if get_origin(kind) is dict else ():
                if is_dataclass(inner):
                    walk(inner, f"{full}.{NAME}.")

    for run in (*schema.RUNS.values(), schema.GenerateRun):
        walk(run, "")
    return found


def owner(kind: type, name: str) -> Owner:
    """``name`` of ``kind`` with the class that declares it: ``kind`` or one that it extends."""
    return [k.__name__ for k in kind.__mro__ if name in inspect.get_annotations(k)][-1], name


def read_at(key: str, owners: set[Owner]) -> list[Site]:
    """The first line in each function that reads the setting, in the order of files and lines."""
    found: set[Site] = set()
    for path, text in _sources():
        if key.rpartition(".")[2] in text:  # walking a file takes much longer than this
            by_owner, by_words = _sites(path, text)
            found.update(by_words.get(key, ()), *(by_owner.get(each, ()) for each in owners))
    first: dict[tuple[str, str], Site] = {}
    for site in sorted(found):
        first.setdefault((site.file, site.function), site)
    return sorted(first.values())


@cache
def _sources() -> list[tuple[Path, str]]:
    told = [PACKAGE / name for name in TELLING]
    return [(path, path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py")) if path not in told]


@cache
def _sites(path: Path, text: str) -> tuple[dict[Owner, list[Site]], dict[str, list[Site]]]:
    """The reads of ``x.name`` by the class of x, and those of ``x["group"]["name"]`` by these words."""
    by_owner: dict[Owner, list[Site]] = defaultdict(list)
    by_words: dict[str, list[Site]] = defaultdict(list)
    _Reader(path.relative_to(PACKAGE.parent).as_posix(), by_owner, by_words).walk(ast.parse(text))
    return by_owner, by_words


class _Reader:
    """Walks a module, knowing which names hold settings of which class."""

    def __init__(self, file: str, by_owner: dict[Owner, list[Site]], by_words: dict[str, list[Site]]) -> None:
        self.file, self.by_owner, self.by_words = file, by_owner, by_words
        self.known: dict[str, Any] = {}  # a name, or self.name, and the class of settings that it holds
        self.within: list[str] = []

    def walk(self, node: ast.AST) -> None:
        """Note the reads in ``node``."""
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Lambda):
            self._scope(node)
            return
        if isinstance(node, ast.Assign):
            self.walk(node.value)
            for target, value in _pairs(node):
                self._bind(target, self._kind(value))
            return
        if isinstance(node, ast.For | ast.comprehension):
            self._loop(node.target, node.iter)
        if isinstance(node, ast.ListComp | ast.DictComp | ast.SetComp | ast.GeneratorExp):
            for part in node.generators:
                self._loop(part.target, part.iter)
        if isinstance(node, ast.Attribute):
            self._note(node)
        if isinstance(node, ast.Subscript | ast.Call) and len(words := _words(node)) > 1:
            self.by_words[".".join(words)].append(self._here(node))
        for child in ast.iter_child_nodes(node):
            self.walk(child)

    def _note(self, node: ast.Attribute) -> None:
        holder = self._kind(node.value)
        if holder is not None and node.attr in _hints(holder) and not is_dataclass(self._kind(node)):
            self.by_owner[owner(holder, node.attr)].append(self._here(node))

    def _scope(self, node: ast.ClassDef | ast.FunctionDef | ast.Lambda) -> None:
        """A class or function: what it binds is forgotten at its end; a function in a function has no name here."""
        known, within = dict(self.known), list(self.within)
        if isinstance(node, ast.ClassDef):
            self.within.append(node.name)
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    self.known = {**known, **self._kept(method)}
        else:
            if isinstance(node, ast.FunctionDef) and (not within or within[-1][:1].isupper()):
                self.within.append(node.name)
            self._take(node.args)
            if within and within[-1] in KINDS:
                self.known["self"] = KINDS[within[-1]]
        for child in node.body if isinstance(node.body, list) else [node.body]:
            if not (isinstance(node, ast.ClassDef) and node.name in KINDS) or _is_property(child):
                self.walk(child)  # settings that check or describe themselves are not read thereby
        self.known, self.within = known, within

    def _take(self, arguments: ast.arguments) -> None:
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            said = ast.unparse(argument.annotation) if argument.annotation else ""
            names = [each.strip("'\" ").rpartition(".")[2] for each in said.split("|")]  # of several the first
            self._bind(ast.Name(argument.arg), next((KINDS[name] for name in names if name in KINDS), None))

    def _kept(self, init: ast.FunctionDef) -> dict[str, Any]:
        """What ``__init__`` keeps as ``self.name``."""
        outer = dict(self.known)
        self._take(init.args)
        pairs = [pair for node in ast.walk(init) if isinstance(node, ast.Assign) for pair in _pairs(node)]
        kept = {ast.unparse(target): self._kind(value) for target, value in pairs if isinstance(target, ast.Attribute)}
        self.known = outer
        return {name: kind for name, kind in kept.items() if kind is not None}

    def _loop(self, target: ast.expr, over: ast.expr) -> None:
        """``for name, value in settings.items()`` and ``for value in settings.values()`` of a map of settings."""
        if (
            isinstance(over, ast.Call)
            and isinstance(over.func, ast.Attribute)
            and over.func.attr in ("items", "values")
        ):
            held = [kind for kind in get_args(self._kind(over.func.value)) if is_dataclass(kind)]
            self._bind(target.elts[-1] if isinstance(target, ast.Tuple) else target, held[0] if held else None)

    def _bind(self, target: ast.expr, kind: Any) -> None:
        self.known.pop(ast.unparse(target), None)
        if kind is not None:
            self.known[ast.unparse(target)] = kind

    def _kind(self, node: ast.expr) -> Any:
        """The class of settings, or the type of the setting, that an expression has; None if it is something else."""
        if isinstance(node, ast.Name | ast.Attribute) and (name := ast.unparse(node)) in self.known:
            return self.known[name]
        if isinstance(node, ast.Attribute):
            return _hints(self._kind(node.value)).get(node.attr)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "parse" and node.args:
            return KINDS.get(ast.unparse(node.args[0]))
        return None

    def _here(self, node: ast.expr) -> Site:
        return Site(self.file, node.lineno, ".".join(self.within))


def _is_property(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and "property" in map(ast.unparse, node.decorator_list)


def _pairs(node: ast.Assign) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Targets with their values; ``a, b = x, y`` is two pairs."""
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from zip(target.elts, node.value.elts, strict=False)
        else:
            yield target, node.value


def _words(node: ast.AST) -> list[str]:
    """The words of ``x["a"]["b"]`` or ``x.get("a").get("b")``."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return [*_words(node.value), str(node.slice.value)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        first = node.args[0]
        return [*_words(node.func.value), str(first.value)] if isinstance(first, ast.Constant) else []
    return []


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind) if is_dataclass(kind) else {}
