"""What Hydra may be given: nothing that names code to run. Hydra's own filter is not a security boundary."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlnlp.errors import Exit, Failure, one_line

OPEN = ("run", "sweep", "launcher", "sweeper", "help")  # of hydra.*: directories, and how jobs are started
CHOICES = ("hydra/launcher", "hydra/sweeper")
NAMES_CODE = ("_target_", "()", "class")
PACKAGE = re.compile(r"\s*#\s*@package\s+\S*hydra")


def check_words(words: list[str]) -> None:
    """Refuse settings that reach into Hydra beyond directories and launchers.

    Raises:
        Failure: exit 2, naming the word.
    """
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        group, _, package = key.partition("@")
        parts = group.split(".")
        beyond = parts[0] == "hydra" and (len(parts) < 2 or parts[1] not in OPEN)
        chosen = group.startswith("hydra/") and group not in CHOICES
        if beyond or chosen or "hydra" in re.split(r"[.:]", package) or "_target_" in word:
            raise Failure(Exit.CONFIG, f"{one_line(word, 80)}: settings that name code to run are refused")
        if key in ("hydra.run.dir", "hydra.sweep.dir") and not word.partition("=")[2].strip("'\" "):
            raise Failure(Exit.CONFIG, f"{key} must name a directory")


def check_files(directories: list[str]) -> None:
    """Refuse YAML of the user's that reaches into Hydra beyond directories and launchers.

    Raises:
        Failure: exit 2, naming file and key; or a file that cannot be read.
    """
    import yaml

    for path in sorted(path for d in directories for path in Path(d).expanduser().rglob("*.y*ml")):
        try:
            text = path.read_text(encoding="utf-8")
            content = yaml.safe_load(text)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise Failure(Exit.CONFIG, f"{path} cannot be read: {one_line(reason, 160)}") from error
        packages = [line.strip() for line in text.split("\n") if PACKAGE.match(line)]
        for key in [*packages, *_forbidden(content, ())]:
            raise Failure(Exit.CONFIG, f"{path}: {key}: settings that name code to run are refused")


def _forbidden(node: Any, keys: tuple[str, ...]) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _forbidden(item, keys)
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        inner = (*keys, str(name))
        inside_hydra = inner[0] == "hydra" and len(inner) > 1
        if (
            name in ("_target_", "()")
            or "@hydra" in str(name)
            or "@_global_.hydra" in str(name)
            or (inside_hydra and (inner[1] not in OPEN or name in NAMES_CODE))
        ):
            yield ".".join(inner)
        yield from _forbidden(value, inner)
