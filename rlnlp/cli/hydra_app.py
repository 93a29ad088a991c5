"""Hydra in front of ``train`` and its short forms: flags on either side, did-you-mean, a directory for each run."""

import argparse
import os
import re
import secrets
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from rlnlp.cli.hydra_guard import check_files, check_words
from rlnlp.config.choices import conf_dir
from rlnlp.config.parse import nearest
from rlnlp.errors import Exit, Failure, Stopped, describe, exit_code, one_line

TAKE_VALUE = {"-c", "--cfg", "-i", "--info", "-p", "--package", "-cd", "--config-dir", "-cn", "--config-name"}
LOOK_ONLY = {"-h", "--help", "--hydra-help", "-c", "--cfg", "-i", "--info", "--version", "-sc", "--shell-completion"}
LONG_FLAGS = (
    "--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun",
    "--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun", "--info",
)  # fmt: skip


def run(name: str, fixed: list[str], arguments: list[str], named: list[str] | None = None) -> int:
    """Compose the settings and run one job, or a job for each choice of a sweep.

    Of a sweep that is resumed, ``named`` are the settings that its user has typed now.

    Raises:
        Failure: what the job raises; or exit 2 with Hydra's complaint in words.
    """
    shell, arguments = arguments[:1] == ["-sc"], [whole_flag(word) for word in arguments]
    sweep = bool({"-m", "--multirun"} & set(arguments))
    if any(word.startswith("--experimental-rerun") for word in arguments):
        raise Failure(Exit.CONFIG, "--experimental-rerun runs a saved file as code and is refused")
    check_words([word for word in arguments if not word.startswith("-")])
    check_files(_config_dirs(arguments))
    directory, given = _directory(arguments, sweep)
    if shell:
        sys.argv = ["rlnlp", *arguments]
    else:
        words = flags_first([*fixed, *arguments, *given])
        sys.argv = [f"rlnlp {name}", *(words if LOOK_ONLY & set(words) else [forced(word) for word in words])]
    _guard_help_check()
    import hydra

    from rlnlp.cli.job import Job

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises; without it, it prints and exits
    job = Job(name, arguments, named)
    try:
        hydra.main(config_path=str(conf_dir()), config_name="train", **_version_base(hydra))(job)()
    except BrokenPipeError:
        raise
    except Stopped as stopped:
        if job.sweep is None:
            raise
        way = shlex.join(["rlnlp", "resume", str(job.sweep)])
        raise Failure(exit_code(stopped), f"stopped by {stopped}\nto do what is missing: {way}") from stopped
    except Exception as error:  # what the job itself raises is kept in the job: this is Hydra's, about the settings
        if isinstance(error, OSError) and not type(error).__module__.startswith("hydra"):
            raise Failure(Exit.STORAGE, f"the run directory cannot be made: {describe(error)}") from error
        raise Failure(Exit.CONFIG, explain(error)) from error
    if job.error is not None:
        raise job.error
    if sweep and not LOOK_ONLY & set(arguments):
        from rlnlp.cli.sweep import summary

        return summary(job.sweep or Path(directory), job.directories)
    return Exit.DONE


def compose(words: list[str]) -> tuple[Any, Path]:
    """The settings that ``rlnlp train`` composes of the same words, and the directory of the run.

    Raises:
        Failure: exit 2, for what Hydra refuses.
    """
    import hydra
    from omegaconf import open_dict

    check_words(words)
    _, given = _directory(words, sweep=False)
    try:
        with hydra.initialize_config_dir(str(conf_dir()), **_version_base(hydra)):
            composed = hydra.compose("train", [forced(word) for word in [*words, *given]], return_hydra_config=True)
            directory = Path(composed.hydra.run.dir)
    except Exception as error:
        raise Failure(Exit.CONFIG, explain(error)) from error
    with open_dict(composed):
        del composed["hydra"]
    return composed, directory


def _version_base(hydra: Any) -> dict[str, Any]:
    return {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}


def whole_flag(word: str) -> str:
    """A long flag in full: argparse accepts any unambiguous prefix, and so must a search for a flag."""
    begun, equals, value = word.partition("=")
    full = [flag for flag in LONG_FLAGS if begun.startswith("--") and flag.startswith(begun) and len(begun) > 2]
    return full[0] + equals + value if len(full) == 1 else word


def flags_first(words: list[str]) -> list[str]:
    """The words with flags before settings: Hydra 1.3 refuses settings on both sides of a flag."""
    flags: list[str] = []
    settings: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        (flags if word.startswith("-") else settings).append(word)
        if word in TAKE_VALUE:
            flags.append(rest.pop(0) if rest and "=" not in rest[0] else "all")
    return flags + settings


def forced(word: str) -> str:
    """``key=value`` as ``++key=value``, so that Hydra lets an unknown key through to ``parse``.

    ``parse`` reports all unknown and wrong settings at once; Hydra would stop at the first, and advise ``+key``, which
    would add a setting that nothing reads.
    """
    key, equals, _ = word.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w.-]*", key) or key.split(".")[0] == "hydra":
        return word
    return word if (conf_dir() / key).is_dir() else f"++{word}"


def explain(error: BaseException) -> str:
    """An error message of Hydra's in a line or two, with the nearest right word."""
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = [str(o) for o in error.options]
        return f"no {group} '{one_line(option)}'{nearest(option, options)}\nchoose from: {', '.join(options)}"
    cause: Any = error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error.__context__
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        return f"{cause.full_key}: {cause.msg}".split("\n")[0]
    unread = re.match(r"Could not override '([^']+)'", str(error))
    if unread:
        return f"this algorithm does not read the group '{unread[1]}'"
    hydras = isinstance(error, HydraException) or type(error).__name__.startswith("Lexer")
    text = (str(error) if hydras else f"Hydra: {describe(error)}").replace("++", "")
    return "\n".join(line for line in text.split("\n")[:3] if line.strip() and "hydra.cc/docs" not in line)


def _directory(arguments: list[str], sweep: bool) -> tuple[str, list[str]]:
    """The directory of this run or sweep, and the setting that names it to Hydra where the user did not."""
    key = "hydra.sweep.dir" if sweep else "hydra.run.dir"
    for word in arguments:
        if word.startswith(f"{key}="):
            return word.partition("=")[2], []
    stamp = f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(4)}"
    directory = f"outputs/sweeps/{stamp}" if sweep else f"outputs/${{hydra.runtime.choices.algo}}/{stamp}"
    return directory, [f"{key}={directory}"]


def _config_dirs(words: list[str]) -> list[str]:
    """The directories after -cd and --config-dir, and of -cp and --config-path."""
    found, flags = [], ("-cd", "--config-dir", "-cp", "--config-path")
    for i, word in enumerate(words):
        if word in flags and i + 1 < len(words):
            found.append(words[i + 1])
        elif word.partition("=")[0] in flags and "=" in word:
            found.append(word.partition("=")[2])
    return found


def _guard_help_check() -> None:
    """Let Hydra 1.3 start on Python 3.14, whose argparse refuses help that is not a string (hydra#3121)."""
    if sys.version_info < (3, 14):
        return
    check: Any = getattr(argparse.ArgumentParser, "_check_help")  # noqa: B009
    setattr(argparse.ArgumentParser, "_check_help", lambda self, a: isinstance(a.help, str) and check(self, a))  # noqa: B010
