"""The words of the command line as Hydra reads them: flags first, settings that any value can be given to."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlnlp.config.choices import conf_dir

TAKE_VALUE = {
    "-c", "--cfg", "-i", "--info", "-p", "--package", "-cd", "--config-dir", "-cn", "--config-name", "-cp",
    "--config-path",
}  # fmt: skip
LOOK_ONLY = {"-h", "--help", "--hydra-help", "-c", "--cfg", "-i", "--info", "--version"}
DRY_RUN = "--dry-run"
LONG_FLAGS = (
    "--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun",
    "--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun", "--info", DRY_RUN,
)  # fmt: skip
CHECK, JSON = "check", "--json"  # the command that trains nothing, and its own flag
NOT_FOR_CHECK = ("--run", "--multirun", DRY_RUN)
PLAIN_VALUE = re.compile(r"[\w./:+%*@?|$\\-]*", re.ASCII)  # characters that Hydra takes as they are
DIRECTORIES = ("hydra.run.dir", "hydra.sweep.dir")


def long_flags(name: str) -> tuple[str, ...]:
    """The long flags of the command ``name``."""
    return (*(flag for flag in LONG_FLAGS if flag not in NOT_FOR_CHECK), JSON) if name == CHECK else LONG_FLAGS


def whole_flag(word: str, flags: Sequence[str] = LONG_FLAGS) -> str:
    """A long flag in full: argparse accepts any unambiguous prefix, and so must a search for a flag."""
    begun, equals, value = word.partition("=")
    full = [flag for flag in flags if begun.startswith("--") and flag.startswith(begun) and len(begun) > 2]
    return full[0] + equals + value if len(full) == 1 else word


def split_flags(words: list[str]) -> tuple[list[str], list[str]]:
    """Flags, with their values, and settings: Hydra 1.3 refuses settings on both sides of a flag."""
    flags: list[str] = []
    settings: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        (flags if word.startswith("-") else settings).append(word)
        if word in TAKE_VALUE:
            takes_path = word in ("-cd", "--config-dir", "-cp", "--config-path")
            flags.append(rest.pop(0) if rest and (takes_path or "=" not in rest[0]) else "all")
    return flags, settings


def flags_first(words: list[str]) -> list[str]:
    """The words with flags before settings."""
    flags, settings = split_flags(words)
    return flags + settings


def flag_value(flags: list[str], *names: str) -> str | None:
    """The value of a flag, the last if there are several; None without it."""
    found = None
    for i, word in enumerate(flags):
        name, equals, value = word.partition("=")
        if name in names:
            found = value if equals else flags[i + 1] if i + 1 < len(flags) else None
    return found


def forced(word: str) -> str:
    """``key=value`` as ``++key=value``, so that Hydra lets an unknown key through to ``parse``.

    ``parse`` reports all unknown and wrong settings at once; Hydra would stop at the first, and advise ``+key``, which
    would add a setting that nothing reads.
    """
    key, equals, _ = word.partition("=")
    if equals and key[:1] == "+" and (conf_dir() / key.lstrip("+")).is_dir():
        return word.lstrip("+")  # a group has a choice already, if only null
    if not equals or not re.fullmatch(r"[A-Za-z_][\w.-]*", key) or key.split(".")[0] == "hydra":
        return word
    return word if (conf_dir() / key).is_dir() else f"++{word}"


def readable(word: str, sweep: bool) -> str:
    """``key=value`` with the value in quotes where Hydra's grammar could not read it, such as a path with ``~``.

    In a sweep, a comma separates values. A map or list is written anew if YAML can read it.
    """
    key, equals, value = word.partition("=")
    if key in DIRECTORIES and value.startswith("~"):
        value = str(Path(value).expanduser())
    if not equals or PLAIN_VALUE.fullmatch(value) or _parses(value):
        return f"{key}{equals}{value}"
    if value[0] in "{[" and (rewritten := _rewritten(value)) is not None:
        return f"{key}={rewritten}"
    parts = value.split(",") if sweep else [value]
    return f"{key}={','.join(part if _parses(part) else quoted(part) for part in parts)}"


def quoted(text: str) -> str:
    """A text in quotes as Hydra reads them; an interpolation in it stays one."""
    text = re.sub(r"(\\+)$", lambda end: end[1] * 2, text)
    return "'" + re.sub(r"(\\*)'", lambda quote: quote[1] * 2 + r"\'", text) + "'"


def _parses(value: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(f"key={value}")
    except HydraException:
        return False
    return True


def _rewritten(value: str) -> str | None:
    import yaml

    try:
        written = _in_grammar(yaml.safe_load(value))
    except (yaml.YAMLError, TypeError, RecursionError):
        return None
    return written if _parses(written) else None


def _in_grammar(node: Any) -> str:
    """Plain containers in Hydra's grammar.

    Raises:
        TypeError: it has no words for such a value.
    """
    if isinstance(node, dict):
        return "{" + ",".join(f"{name}:{_in_grammar(value)}" for name, value in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ",".join(map(_in_grammar, node)) + "]"
    return quoted(node) if isinstance(node, str) else json.dumps(node)
