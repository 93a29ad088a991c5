"""What a word of the command line may become: files, and the functions in one. Imports nothing heavy."""

import ast
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Candidate:
    """A whole word, and a few words about it."""

    text: str
    help: str = ""


def files(begun: str, only_directories: bool = False) -> Iterator[Candidate]:
    """The files that a path may become; a directory ends in a slash."""
    above, _, name = begun.rpartition("/")
    shown = begun[: len(begun) - len(name)]
    with suppress(OSError, RuntimeError):
        folder = Path(shown or ".").expanduser() if above or shown else Path()
        for path in sorted(folder.iterdir()):
            if path.name.startswith(name) and (name.startswith(".") or not path.name.startswith(".")):
                if path.is_dir():
                    yield Candidate(f"{shown}{path.name}/")
                elif not only_directories:
                    yield Candidate(f"{shown}{path.name}")


def functions(begun: str) -> Iterator[Candidate]:
    """Python files, and behind the colon the functions of one."""
    file, colon, _ = begun.partition(":")
    if not colon:
        for one in files(begun):
            if one.text.endswith("/"):
                yield one
            elif one.text.endswith(".py"):
                yield Candidate(f"{one.text}:")
        return
    with suppress(OSError, SyntaxError, ValueError, RuntimeError):
        body = ast.parse(Path(file).expanduser().read_text(encoding="utf-8")).body
        yield from (
            Candidate(f"{file}:{node.name}", (ast.get_docstring(node) or "").partition("\n")[0])
            for node in body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        )
