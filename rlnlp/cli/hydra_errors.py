"""Hydra's complaints in a line or two, with the nearest right word."""

import re
from typing import Any

from rlnlp.config.choices import conf_dir
from rlnlp.config.parse import nearest
from rlnlp.errors import describe, one_line, shell_word

HIDDEN = re.compile(r"hydra\.cc/docs|^\s*(Config s|S)earch path:")  # lines of Hydra's that help nobody here


def explained(error: BaseException) -> str:
    """An error message of Hydra's in a line or two, with the nearest right word."""
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).partition("/")
        if not (conf_dir() / group).is_dir():
            group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = [str(o) for o in error.options]
        hint = nearest(option, options, f"{group}=")
        return f"no {group} '{one_line(option)}'{hint}\nchoose from: {', '.join(options)}"
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override).lstrip("+"), str(error))
    cause: Any = error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error.__context__
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        return f"{cause.full_key}: {cause.msg}".split("\n")[0]
    unread = re.match(r"Could not override '([^']+)'", str(error))
    if unread:
        return f"this algorithm does not read the group '{unread[1]}'"
    hydras = isinstance(error, HydraException) or type(error).__name__.startswith("Lexer")
    text = (str(error) if hydras else f"Hydra: {describe(error)}").replace("++", "")
    return "\n".join(line for line in text.split("\n")[:3] if line.strip() and not HIDDEN.search(line))


def _unreadable(word: str, message: str) -> str:
    """A word that Hydra's grammar has no reading for, and how to write it if it is a text."""
    first = message.replace("++", "").split("\n")[0]
    key, equals, value = word.partition("=")
    if not equals or not re.fullmatch(r"[\w.@/-]+", key) or value[:1] in "{[":
        return (
            f"{first}\nput quotes around texts in it that are more than letters and digits: {{fn: 'my rewards.py:f'}}"
        )
    from rlnlp.cli.hydra_words import quoted

    return f"{first}\nif it is a text, type: {shell_word(f'{key}={quoted(value)}')}"
