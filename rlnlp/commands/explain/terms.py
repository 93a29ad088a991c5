"""The reward terms of the package and of conf/: their signatures and docstrings, without importing them."""

import ast
import inspect
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from rlnlp.commands.explain.catalog import show
from rlnlp.config import schema as config
from rlnlp.config.choices import choice, choices_of
from rlnlp.config.reward import REWARDS

ROOT = Path(config.__file__).resolve().parent.parent.parent
GIVEN = {"prompts", "completions", "references", "name", "context"}  # what a term is given, and no config sets


@dataclass
class Term:
    """A term by its name in the choices of ``reward``; ``rewards`` has its settings in each of them."""

    name: str
    fn: str
    help: str
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
        return [("", self.help), ("function", self.fn), ("arguments", args or "none"), ("used in", "; ".join(used))]

    def record(self) -> dict[str, Any]:
        """All of it as plain data, for programs."""
        args = {name: {"type": kind, "default": default} for name, (kind, default) in self.args.items()}
        return {"term": self.name, "help": self.help, "fn": self.fn, "args": args, "rewards": self.rewards}


@cache
def terms() -> dict[str, Term]:
    """Every built-in term by its own name, and by those that it has in the choices of ``reward``."""
    found = {name: _term(name, name) for name in REWARDS}
    for reward in choices_of("reward"):
        for name, values in choice("reward", reward).get("terms", {}).items():
            if values["fn"] in REWARDS:
                found.setdefault(name, _term(name, values["fn"])).rewards[reward] = values
    return found


def _term(name: str, fn: str) -> Term:
    """A term of a function of the package, as its source describes it."""
    module, _, function = REWARDS[fn].partition(":")
    source = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    node = next(node for node in source.body if isinstance(node, ast.FunctionDef) and node.name == function)
    text = inspect.cleandoc(ast.get_docstring(node) or "").partition("\n\nRaises:")[0]
    return Term(name, fn, " ".join(text.replace("``", "'").split()), _arguments(node.args))


def _arguments(of: ast.arguments) -> dict[str, tuple[str, str | None]]:
    """The arguments that a config may give."""
    plain = [*of.posonlyargs, *of.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(of.defaults))
    pairs = zip([*plain, *of.kwonlyargs], [*defaults, *of.defaults, *of.kw_defaults], strict=True)
    return {a.arg: (_type(a.annotation), ast.unparse(d) if d else None) for a, d in pairs if a.arg not in GIVEN}


def _type(annotation: ast.expr | None) -> str:
    """The annotation without its limits: ``Annotated[int, ...]`` is ``int``."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        annotation = annotation.slice.elts[0] if isinstance(annotation.slice, ast.Tuple) else None
    return "anything" if annotation is None else ast.unparse(annotation)
