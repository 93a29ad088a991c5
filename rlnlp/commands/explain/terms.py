"""The reward terms that conf/ and the package have: what they say of themselves, without importing them."""

import ast
import inspect
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from rlnlp.commands.explain.catalogue import choices_of, show
from rlnlp.config import schema as config
from rlnlp.config.choices import choice

PACKAGE = Path(config.__file__).resolve().parent.parent
GIVEN = {"prompts", "completions", "references", "name", "context"}  # what a term is given, and no config sets


@dataclass
class Term:
    """A term by its name in the choices of ``reward``; ``rewards`` has its settings in each of them."""

    name: str
    fn: str
    meaning: str
    args: dict[str, tuple[str, str | None]]  # type and default, as they stand in the source
    rewards: dict[str, dict[str, Any]] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str]]:
        """Label and text of each line about it."""
        args = ", ".join(
            f"{name} ({kind}, {'must be given' if default is None else f'default {default}'})"
            for name, (kind, default) in self.args.items()
        )
        used = [
            f"reward={reward}: weight {show(term.get('weight', 1))}"
            + "".join(f", {name} {show(value)}" for name, value in term.get("args", {}).items())
            for reward, term in self.rewards.items()
        ]
        return [("", self.meaning), ("function", self.fn), ("arguments", args or "none"), ("used in", "; ".join(used))]

    def record(self) -> dict[str, Any]:
        """All of it as plain data, for programs."""
        args = {name: {"type": kind, "default": default} for name, (kind, default) in self.args.items()}
        return {"term": self.name, "meaning": self.meaning, "fn": self.fn, "args": args, "rewards": self.rewards}


@cache
def terms() -> dict[str, Term]:
    """Every built-in term, and every other one that a choice of ``reward`` has."""
    found = {name: _term(name, name) for name in config.REWARDS}
    for reward in choices_of("reward"):
        for name, values in choice("reward", reward).get("terms", {}).items():
            if name not in found:
                found[name] = _term(name, values["fn"])
            found[name].rewards[reward] = values
    return found


def _term(name: str, fn: str) -> Term:
    function = _function(fn)
    if function is None:
        return Term(name, fn, "", {})
    text = inspect.cleandoc(ast.get_docstring(function) or "").partition("\n\nRaises:")[0]
    return Term(name, fn, " ".join(text.replace("``", "'").split()), _arguments(function))


def _function(fn: str) -> ast.FunctionDef | None:
    """The definition of a term: of its own name in rewards/, or ``package.module:function``."""
    module, _, name = fn.rpartition(":")
    paths = (
        [PACKAGE.parent / f"{module.replace('.', '/')}.py"] if module else sorted((PACKAGE / "rewards").glob("*/*.py"))
    )
    found = {
        node.name: node
        for path in paths
        if path.is_file()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name in (name, f"{name}_term")
    }
    return found.get(f"{name}_term") or found.get(name)  # a term of a model: the function that the config's words go to


def _arguments(function: ast.FunctionDef) -> dict[str, tuple[str, str | None]]:
    """The arguments that a config may give; a function that is given nothing makes a term of a model, and has none."""
    plain, keyword = [*function.args.posonlyargs, *function.args.args], function.args.kwonlyargs
    if not GIVEN & {a.arg for a in (*plain, *keyword)}:
        return {}
    defaults = dict(zip([a.arg for a in reversed(plain)], reversed(function.args.defaults), strict=False))
    defaults |= {a.arg: d for a, d in zip(keyword, function.args.kw_defaults, strict=True) if d is not None}
    return {
        a.arg: (_type(a.annotation), ast.unparse(defaults[a.arg]) if a.arg in defaults else None)
        for a in (*plain, *keyword)
        if a.arg not in GIVEN
    }


def _type(annotation: ast.expr | None) -> str:
    """The annotation without its limits: ``Annotated[int, ...]`` is ``int``."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        annotation = annotation.slice.elts[0] if isinstance(annotation.slice, ast.Tuple) else None
    return "anything" if annotation is None else ast.unparse(annotation)
