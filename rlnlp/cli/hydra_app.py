"""Hydra in front of ``train`` and its short forms: what is typed becomes a checked run, or the jobs of a sweep."""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

from rlnlp.cli.composition import Composition, composed, register_stamp
from rlnlp.cli.exits import print_error
from rlnlp.cli.hydra_errors import explained
from rlnlp.cli.hydra_guard import ALWAYS, check_words
from rlnlp.cli.hydra_words import (
    CHECK,
    DRY_RUN,
    JSON,
    LOOK_ONLY,
    TAKE_VALUE,
    forced,
    long_flags,
    quoted,
    readable,
    split_flags,
    whole_flag,
)
from rlnlp.cli.plugins import check_direction, check_plugins, with_ours
from rlnlp.cli.words import check_typed
from rlnlp.commands.processes import check_alone
from rlnlp.commands.train import check_device, run_training
from rlnlp.config.changes import declaration
from rlnlp.config.choices import conf_dir
from rlnlp.errors import Exit, Failure, command, describe, exit_code
from rlnlp.run.find import is_sweep
from rlnlp.run.manifest import without_secrets

OWN_FILES = ("-cd", "--config-dir", "-cp", "--config-path")


def run(name: str, fixed: list[str], arguments: list[str], named: list[str] | None = None) -> int:
    """Compose the settings, check them, and run one job, or a job for each choice of a sweep.

    Of a sweep that is resumed, ``named`` are the settings that its user has typed now.

    Raises:
        Failure: what a run raises; or exit 2 with Hydra's complaint in words.
    """
    arguments = [whole_flag(word, long_flags(name)) for word in arguments]
    flags, settings = split_flags(arguments)
    if any(word.startswith("--experimental-rerun") for word in flags):
        raise Failure(Exit.CONFIG, "--experimental-rerun runs a saved file as code and is refused")
    dry, as_json = DRY_RUN in flags, JSON in flags
    named_flags = {word.partition("=")[0] for word in flags}
    look, own_files = bool(LOOK_ONLY & named_flags), bool(named_flags & set(OWN_FILES))
    check_typed(name, fixed, arguments, long_flags(name), TAKE_VALUE, look and not own_files)
    flags = _absolute([word for word in flags if word not in (DRY_RUN, JSON)])
    check_words(settings)
    check_plugins(settings)
    sweep = bool({"-m", "--multirun"} & set(flags)) or "hydra.mode=MULTIRUN" in settings
    words = [readable(word, sweep) for word in [*fixed, *with_ours(settings)]]
    if {"-h", "--help"} & named_flags:
        return _help(name, composed(flags, [*map(forced, words), *ALWAYS], sweep))
    if look:
        if own_files or "hydra.searchpath" in " ".join(words):
            composed(flags, words, sweep)
        known = [forced(word) if declaration(word.partition("=")[0]) else word for word in words]
        return _hydra_main([f"rlnlp {name}", *flags, *known], None)
    composition = composed(flags, [*map(forced, words), *ALWAYS], sweep)
    if composition.sweep and name == CHECK:
        way = command("train", "-m", DRY_RUN, *map(without_secrets, [*settings]))
        raise Failure(Exit.CONFIG, f"rlnlp {CHECK} looks at one run; what files tell of the jobs of a sweep: {way}")
    if composition.sweep:
        return _sweep(name, flags, composition, arguments, named, dry)
    from rlnlp.cli.job import from_environment, plain

    task, directory = composition.task(), composition.directory
    if dry:
        from rlnlp.cli.dry_run import print_run

        return print_run(plain(task), directory)
    show_logging(composition.config.hydra.verbose)
    if name == CHECK:
        from rlnlp.commands.check.main import check_run

        typed = [without_secrets(word) for word in arguments if word != JSON]
        return check_run(plain(task), directory, ["train", *typed], as_json)
    run_training(plain(task), directory, name, from_environment(task))
    return Exit.DONE


def show_logging(verbose: Any) -> None:
    """Show what libraries log, as ``hydra.verbose`` says: true for all of it, or the name of a logger, or several."""
    if not verbose:
        return
    logging.basicConfig(level=logging.DEBUG if verbose is True else None)
    for logger in [] if verbose is True else [verbose] if isinstance(verbose, str) else verbose:
        logging.getLogger(logger).setLevel(logging.DEBUG)


def compose(words: list[str]) -> tuple[Any, Path]:
    """The settings that ``rlnlp train`` composes of the same words, and the directory of the run.

    Raises:
        Failure: exit 2, for what Hydra refuses.
    """
    check_words(words)
    found = composed([], [*(forced(readable(word, sweep=False)) for word in words), *ALWAYS], sweep=False)
    return found.task(), found.directory


def _help(name: str, composition: Composition) -> int:
    """Print the page of a command for composed settings."""
    from omegaconf import OmegaConf

    from rlnlp.cli.help import show_help

    config: Any = OmegaConf.to_container(composition.config, resolve=False)
    chosen = {group: part for group, part in config["hydra"]["runtime"]["choices"].items() if part is not None}
    own = [place for place in composition.directories() if place != conf_dir()]
    show_help(name, config, chosen, own, long_flags(name))
    return Exit.DONE


def _sweep(
    name: str, flags: list[str], composition: Composition, typed: list[str], named: list[str] | None, dry: bool
) -> int:
    """Check all jobs, and run them through Hydra's sweeper and launcher.

    Raises:
        Failure: exit 2, 3, 4 or 7, with what is wrong with each job, and none has begun; or a signal's.
    """
    from rlnlp.cli.job import Job
    from rlnlp.cli.jobs import checked_jobs
    from rlnlp.cli.sweep import summary
    from rlnlp.commands.resume import check_named

    check_direction(composition.config.hydra.sweeper)
    jobs = checked_jobs(composition)
    check_alone([job.config for job in jobs or []])
    for config in {job.config.device.name: job.config for job in jobs or []}.values():
        check_device(config)
    directory, planned = composition.directory, [each.number for each in jobs or []]
    for each in [] if named is None else jobs or []:
        check_named(directory, each.config, named or [])
    if dry:
        from rlnlp.cli.dry_run import print_sweep

        return print_sweep(jobs, directory)
    job = Job(name, typed, named, None if jobs is None else [each.words for each in jobs])
    words = [*composition.words, f"hydra.sweep.dir={quoted(str(directory))}"]
    try:
        _hydra_main([f"rlnlp {name}", *flags, *words], job)
    except KeyboardInterrupt as stopped:
        if not is_sweep(directory):
            raise
        way, name = command("resume", directory), str(stopped) or "SIGINT"
        raise Failure(exit_code(stopped), f"stopped by {name}\nto do what is missing: {way}") from stopped
    except Failure as failure:  # of a launcher or a sweeper; what has begun is told all the same
        if not is_sweep(directory):
            raise
        print_error(f"rlnlp {name}: {failure}")
        summary(directory, job.directories, planned)
        return Exit.SWEEP
    return summary(directory, job.directories, planned)


def _hydra_main(argv: list[str], function: Any) -> int:
    """Hydra's own command line with ``argv``; ``function`` is called with the settings of each job.

    Raises:
        Failure: exit 2, with Hydra's complaint in words; exit 5, if it cannot make a directory.
    """
    sys.argv = argv
    _guard_help_check()
    import hydra

    register_stamp()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises; without it, it prints and exits
    base = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}
    try:
        hydra.main(config_path=str(conf_dir()), config_name="train", **base)(function or _nothing)()
    except Exception as error:  # what a job itself raises is kept in the job: this is Hydra's, about the settings
        if isinstance(error, OSError) and not type(error).__module__.startswith("hydra"):
            raise Failure(Exit.STORAGE, f"the run directory cannot be made: {describe(error)}") from error
        raise Failure(Exit.CONFIG, explained(error)) from error
    return Exit.DONE


def _nothing(composed: Any) -> None:
    """The function of a command line that only shows something."""


def _absolute(flags: list[str]) -> list[str]:
    """The flags with the directories that they name as absolute paths: Hydra takes some from beside its caller."""
    found: list[str] = []
    for word in flags:
        flag, equals, value = word.partition("=")
        if equals and flag in OWN_FILES:
            word = f"{flag}={Path(value).expanduser().absolute()}"
        elif found and found[-1] in OWN_FILES:
            word = str(Path(word).expanduser().absolute())
        found.append(word)
    return found


def _guard_help_check() -> None:
    """Let Hydra 1.3 start on Python 3.14, whose argparse refuses help that is not a string (hydra#3121)."""
    if sys.version_info < (3, 14):
        return
    check: Any = getattr(argparse.ArgumentParser, "_check_help")  # noqa: B009
    setattr(argparse.ArgumentParser, "_check_help", lambda self, a: isinstance(a.help, str) and check(self, a))  # noqa: B010
