"""``rlnlp resume RUN [key=value ...]``: continue a run from its last checkpoint, bit for bit as if never stopped."""

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlnlp.commands.preflight import check_files, parse_run_config, settled_config
from rlnlp.commands.processes import check_processes
from rlnlp.commands.train import check_device, run_training, train
from rlnlp.commands.words import parse_words, run_and_settings
from rlnlp.config.algos import Optimization
from rlnlp.config.changes import FREE, changes, check_allowed, check_total_steps, resume_class, steps_of_round
from rlnlp.config.choices import merged
from rlnlp.config.rlhf import Rlhf
from rlnlp.config.schema import RUNS, PpoRun
from rlnlp.config.setting import choosing, leaves, names_in
from rlnlp.errors import Exit, Failure, command, counted, one_line
from rlnlp.processes.launch import follows
from rlnlp.run.manifest import REDACTED, ResumeInfo, check_unchanged, read_config, read_facts, words_to_name

ALLOW = "resume.allow="


def main(argv: list[str]) -> int:
    """Resume.

    Raises:
        Failure: for what the user can fix.
    """
    args = arguments(argv)
    directory = Path(args.run).expanduser()
    words = [word for word in args.words if not word.startswith(ALLOW)]
    allowed = [word.removeprefix(ALLOW) for word in args.words if word.startswith(ALLOW)]
    allow = frozenset(key.strip() for word in allowed for key in word.strip("[]").split(",") if key.strip())
    config = stored(directory)
    old = asdict(config)
    check_named(directory, config, words)
    resume_run(directory, old, merged(old, words), allow)
    return Exit.DONE


def arguments(argv: list[str]) -> argparse.Namespace:
    """The words of the command line.

    Raises:
        Failure: exit 2, for a word that is no setting.
    """
    parser = argparse.ArgumentParser(
        prog="rlnlp resume",
        description="Continue a run from its last checkpoint; it ends with the bytes of one never interrupted.",
        epilog="Settings that would change the steps to come must be allowed: resume.allow=algo.learning_rate.",
    )
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("words", metavar="key=value", nargs="*", help="settings that are to change, or are asked for")
    args = parse_words(parser, argv, PpoRun)
    args.run, args.words = run_and_settings([args.run, *args.words])
    return args


def stored(directory: Path) -> Any:
    """The settings that a run directory holds, of whatever version.

    Raises:
        Failure: exit 6, if it is no run directory, or its settings were changed since.
    """
    config = read_config(directory)
    check_unchanged(directory)
    return config


def check_named(
    directory: Path, config: Any, words: list[str], name: str = "resume", flags: Sequence[str] = ()
) -> None:
    """Refuse to run code that only a file names, and to go on without a secret that was not written down.

    ``name`` is the command whose words these are, with the ``flags`` that it was given.

    Raises:
        Failure: exit 6, with the words to type.
    """
    given = {word.partition("=")[0] for word in words}
    code, secrets = words_to_name(config)
    code, secrets = ([word for word in each if word.partition("=")[0] not in given] for each in (code, secrets))
    if code or secrets:
        why = "it runs code of yours, which a directory must not name" if code else "it needs what was not written down"
        raise Failure(Exit.RUN, f"{why}; name it again:\n{command(name, directory, *flags, *code, *secrets)}")


def start_or_resume(settings: Any, directory: Path, command: str, hidden: Collection[str]) -> None:
    """Train in ``directory``; a run of the same settings that has begun there is resumed, one that is complete is left.

    The settings are those of the present command: code and secrets that they name are named again.

    Raises:
        Failure: exit 6, if a run of other settings is there, or whatever else the user can fix.
    """
    if not (directory / "config.yaml").exists():
        return run_training(settings, directory, command, hidden)
    new = settled_config(settings)
    return resume_run(directory, same_settings(directory, new), asdict(new), frozenset())


def same_settings(directory: Path, config: Any) -> dict[str, Any]:
    """The settings of the run in ``directory``, whose steps are those that ``config`` asks for.

    Raises:
        Failure: exit 6, if a run of other settings is there.
    """
    old = asdict(stored(directory))
    known = {key: value for key, value in changes(old, asdict(config)).items() if value[0] != REDACTED}
    other = [key for key in known if resume_class(key) != FREE]
    if other:
        shown = ", ".join(f"{key} {one_line(str(known[key][0]), 40)}" for key in other)
        raise Failure(Exit.RUN, f"{directory} holds a run of other settings ({shown})\nchoose another hydra.sweep.dir=")
    return old


def _check_stages(directory: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse another algorithm of a stage.

    Raises:
        Failure: exit 6.
    """
    schema = RUNS[old["algo"]["name"]]
    then, now = names_in(schema, old), names_in(schema, new)
    for group, name in then.items():
        if now[group] != name or choosing(group, "").rstrip("=") in dict(leaves(new)):
            what = f"{directory} is a run with {choosing(group, name)}"
            raise Failure(Exit.RUN, f"{what}: this cannot change within a run")


def _all_done(facts: Mapping[str, Any], config: Any) -> str | None:
    """What a run has done that has nothing left to do with these settings; None for any other."""
    if facts.get("status") != "done":
        return None
    algo, result = config.algo, facts.get("result")
    if isinstance(algo, Rlhf):  # the last round may have ended early
        rounds = result.get("rounds") if isinstance(result, Mapping) else None
        return counted(algo.rounds, "round") if rounds == algo.rounds else None
    return counted(algo.total_steps, "step") if facts.get("steps") == algo.total_steps else None


def _stopped_early(facts: Mapping[str, Any]) -> bool:
    result = facts.get("result")
    return facts.get("status") == "done" and isinstance(result, Mapping) and result.get("stopped_early") is True


def _say(text: str) -> None:
    """Print, in the first of several processes."""
    if not follows():
        print(text)


def resume_run(directory: Path, old: Mapping[str, Any], new: Mapping[str, Any], allow: frozenset[str]) -> None:
    """Train on in ``directory`` with the settings ``new``, which were ``old``.

    Raises:
        Failure: whatever the user can fix.
    """
    if new["algo"].get("name") != old["algo"]["name"]:
        raise Failure(Exit.RUN, f"{directory} is a run of {old['algo']['name']}: the algorithm cannot change")
    _check_stages(directory, old, new)
    config = parse_run_config(new)
    changed = {key: pair for key, pair in changes(old, asdict(config)).items() if pair[0] != REDACTED}
    facts = read_facts(directory)
    falling = isinstance(config.algo, Optimization) and config.algo.lr_schedule != "constant"
    check_allowed(changed, allow, ALLOW, falling, facts.get("code", {}))
    if facts.get("status") == "done":  # else the steps that are saved may be fewer
        check_total_steps(
            config.algo.total_steps, int(facts.get("steps") or 0), directory, steps_of_round(config.algo)
        )  # fmt: skip
    if (done := _all_done(facts, config)) is not None:
        _say(f"{directory} is complete: it has done {done}")
        return
    if _stopped_early(facts) and "heldout.patience" not in changed:
        _say(f"{directory} is complete: it stopped early after step {facts['steps']}")
        _say(f"to go on: {command('resume', directory, 'heldout.patience=0')}")
        return
    check_files(config)
    check_processes(config)
    from rlnlp.run.live import display

    with display().waiting("loading torch"):
        check_device(config)
        from rlnlp.run.following import running

    hidden = [key for key, value in leaves(old) if value == REDACTED]
    word = str(facts.get("command", "resume"))
    with running(directory, config, word, ResumeInfo(allow, changed), hidden) as run:
        train(config, run)
