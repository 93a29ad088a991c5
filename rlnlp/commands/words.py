"""The words of a plain command that takes settings: flags on either side, and for a wrong word what to type instead."""

import argparse
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING
from difflib import get_close_matches
from pathlib import Path

from rlnlp.config.hints import did_you_mean, hint_for, resembles
from rlnlp.errors import Exit, Failure, one_line

SETTING = re.compile(r"\+*[A-Za-z_][\w.-]*=\S*")  # what is typed as a setting, right or wrong; text has spaces
NO_VALUE = re.compile(r"-|.*[\s=]")  # what cannot be the value of the flag before it


def parse_words(parser: argparse.ArgumentParser, argv: list[str], schema: type) -> argparse.Namespace:
    """The arguments of ``argv``, with flags and other words in any order.

    Raises:
        Failure: exit 2, for flags that the command does not have, with the setting of ``schema`` that was meant.
    """
    args, unknown = parser.parse_known_intermixed_args(argv)
    flags = re.findall(r"(?<!\w)--?[a-z]+", parser.format_help())
    faults = []
    for word in (each for each in unknown if each.startswith("-")):
        flag, equals, value = word.partition("=")
        after = argv[argv.index(word) + 1 :][:1]
        if not equals and after and not NO_VALUE.match(after[0]):
            value = after[0]
        faults.append(f"no flag '{one_line(flag, 60)}'{_meant(flag, value, flags, schema)}")
    if faults:
        raise Failure(Exit.CONFIG, "\n".join(faults))
    return args


def run_and_settings(words: list[str]) -> tuple[str, list[str]]:
    """The run among ``words``, whose name may have an equals sign, and the others, which are settings.

    Raises:
        Failure: exit 2, for another word that is no setting.
    """
    runs = [word for word in words if "=" not in word or Path(word).expanduser().is_dir()]
    run = (runs or words)[0]
    settings = list(words)
    settings.remove(run)
    for word in settings:
        if "=" not in word.strip("="):
            spaced = "; it has no spaces around '='" if "=" in settings else ""
            raise Failure(Exit.CONFIG, f"'{one_line(word, 60)}' is no setting: want key=value{spaced}")
    return run, settings


def check_text(words: list[str], schema: type, flags: Mapping[str, str], what: str = "prompt") -> None:
    """Refuse, among words of text, those that look like settings.

    ``flags`` are the flags of names typed as settings, ``what`` is what a text is to the command.

    Raises:
        Failure: exit 2, with the words to type.
    """
    faults = []
    for before, word in zip(["", *words], words, strict=False):
        key, _, value = word.partition("=")
        if word == "=" and resembles(before, schema):
            faults.append(f"'{one_line(before, 60)} =' looks like a setting, which has no spaces around '='")
        elif SETTING.fullmatch(word) and key in flags:
            faults.append(f"'{one_line(word, 60)}' looks like a setting; type: {flags[key]} {value}".rstrip())
        elif SETTING.fullmatch(word) and resembles(key, schema):
            faults.append(f"'{one_line(word, 60)}' looks like a setting{hint_for(key, value, schema)}")
    if faults:
        way = f"if it is a {what}, give it with --file or on standard input"
        raise Failure(Exit.CONFIG, "\n".join([*faults[:2], way]))


def _meant(flag: str, value: str, flags: list[str], schema: type) -> str:
    near = get_close_matches(flag, flags, 1, 0.8) if len(flag) > 2 else []
    if near:
        return did_you_mean(near)
    hint = hint_for(flag.lstrip("-").replace("-", "_"), value or MISSING, schema) if len(flag) > 2 else ""
    return hint or "; settings are typed as key=value"


def lines_of_stdin(what: str) -> list[str]:
    """The lines of standard input, each a ``what``.

    Raises:
        Failure: exit 2, if it is a terminal; exit 3, if there is none or it is not UTF-8.
    """
    if sys.stdin.isatty():
        raise Failure(Exit.CONFIG, f"no {what}: give it as words, with --file, or on standard input")
    try:
        lines = [line.strip() for line in sys.stdin.buffer.read().decode().split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise Failure(Exit.DATA, "standard input is not UTF-8") from error
    if not lines:
        raise Failure(Exit.DATA, f"no {what} on standard input")
    return lines
