"""Hydra in front of ``train`` and its short forms: flags on either side, did-you-mean, a directory for each run."""

import argparse
import os
import re
import secrets
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from rlnlp.errors import Exit, Failure, one_line
from rlnlp.outcome import describe
from rlnlp.parse import nearest

TAKE_VALUE = {"-c", "--cfg", "-i", "--info", "-p", "--package", "-cd", "--config-dir", "-cn", "--config-name"}
LOOK_ONLY = {"-h", "--help", "--hydra-help", "-c", "--cfg", "-i", "--info", "--version", "-sc", "--shell-completion"}


def run(name: str, fixed: list[str], arguments: list[str]) -> int:
    """Compose the settings and run one job, or a job for each choice of a sweep.

    Raises:
        Failure: what the job raises; or exit 2 with Hydra's complaint in words.
    """
    shell, sweep = arguments[:1] == ["-sc"], bool({"-m", "--multirun"} & set(arguments))
    if any(a.startswith("--experimental-rerun") for a in arguments):
        raise Failure(Exit.CONFIG, "--experimental-rerun runs a saved file as code and is refused")
    directory, given = _directory(arguments, sweep)
    if shell:
        sys.argv = ["rlnlp", *arguments]
    else:
        words = flags_first([*fixed, *arguments, *given])
        sys.argv = [f"rlnlp {name}", *(words if LOOK_ONLY & set(words) else [forced(word) for word in words])]
    _guard_help_check()
    import hydra

    from rlnlp.job import Job

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises; without it, it prints and exits
    base = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}
    job = Job(name)
    try:
        hydra.main(config_path=str(conf_dir()), config_name="train", **base)(job)()
    except Exception as error:  # what the job itself raises is kept in the job: this is Hydra's, about the settings
        raise Failure(Exit.CONFIG, explain(error)) from error
    if job.error is not None:
        raise job.error
    if sweep and not LOOK_ONLY & set(arguments):
        from rlnlp.sweep import summary

        return summary(Path(directory))
    return Exit.DONE


def conf_dir() -> Path:
    """Where the YAML lies: inside the package in a wheel, beside it in a checkout.

    Raises:
        Failure: exit 2, if it is in neither place.
    """
    package = Path(__file__).resolve().parent
    for place in (package / "conf", package.parent / "conf"):
        if (place / "train.yaml").is_file():
            return place
    raise Failure(Exit.CONFIG, "the conf folder is missing from this installation; install rlnlp again")


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

    ``parse`` tells all unknown and wrong settings at once; Hydra would stop at the first, and advise ``+key``, which
    would add a setting that nothing reads.
    """
    key, equals, _ = word.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w.-]*", key) or key.split(".")[0] == "hydra":
        return word
    return word if (conf_dir() / key).is_dir() else f"++{word}"


def explain(error: BaseException) -> str:
    """A complaint of Hydra's in a line or two, with the nearest right word."""
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = [str(o) for o in error.options]
        return f"no {group} '{one_line(option)}'{nearest(option, options)}\nchoose from: {', '.join(options)}"
    cause: Any = error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error.__context__
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        return f"{cause.full_key}: {cause.msg}".split("\n")[0]
    text = str(error).replace("'++", "'") if isinstance(error, HydraException) else f"Hydra: {describe(error)}"
    return "\n".join(line for line in text.split("\n")[:3] if line.strip() and "hydra.cc/docs" not in line)


def _directory(arguments: list[str], sweep: bool) -> tuple[str, list[str]]:
    """The directory of this run or sweep, and the setting that tells Hydra of it where the user did not."""
    key = "hydra.sweep.dir" if sweep else "hydra.run.dir"
    for word in arguments:
        if word.startswith(f"{key}="):
            return word.partition("=")[2], []
    stamp = f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(4)}"
    directory = f"outputs/sweeps/{stamp}" if sweep else f"outputs/${{hydra.runtime.choices.algo}}/{stamp}"
    return directory, [f"{key}={directory}"]


def _guard_help_check() -> None:
    """Let Hydra 1.3 start on Python 3.14, whose argparse refuses help that is not a string (hydra#3121)."""
    if sys.version_info < (3, 14):
        return
    check: Any = getattr(argparse.ArgumentParser, "_check_help")  # noqa: B009
    setattr(argparse.ArgumentParser, "_check_help", lambda self, a: isinstance(a.help, str) and check(self, a))  # noqa: B010
