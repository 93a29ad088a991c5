"""Words of the command line that no command takes: for a wrong one, what to type instead. Before Hydra reads them."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rlnlp.cli.chosen_words import EXPERIMENT, chosen_stages, wrong_choices
from rlnlp.commands.guide import TOPICS
from rlnlp.config.changes import declaration, generic
from rlnlp.config.choices import algorithm_of, choices_of, conf_dir, is_run
from rlnlp.config.hints import did_you_mean, hint_for, in_quotes, keys_of, meant, resembles
from rlnlp.config.schema import RUNS
from rlnlp.config.setting import of_others
from rlnlp.errors import Exit, Failure, command, one_line
from rlnlp.run.manifest import without_secrets

SHORT_FLAGS = ("-h", "-c", "-r", "-m", "-sc", "-cp", "-cn", "-cd", "-i", "-p")
TAKE_A_WORD = {"-sc", "--shell-completion", "-cp", "--config-path"}  # with those that hydra_app puts in front
DIRECTORY = ("output_dir", "output_directory", "out_dir", "outdir", "run_dir", "save_dir", "logdir", "log_dir")
OTHER_COMMANDS = {  # what other tools call them
    "continue": "resume", "docs": "guide", "finetune": "sft", "fit": "train", "inference": "generate", "run": "train",
    "manual": "guide", "sample": "generate", "score": "rank", "tune": "train", "diff": "compare", "list": "runs",
    "ls": "runs",
}  # fmt: skip
KEY = re.compile(r"[A-Za-z_][\w.]*")


def refuse_command(words: list[str], commands: list[str]) -> int:
    """Say that the first of ``words`` is no command, and what was meant.

    Raises:
        Failure: exit 2, always.
    """
    word, rest = words[0], words[1:]
    near = get_close_matches(word.lower(), commands, 1, 0.6) if word not in TOPICS else []
    if near or word in OTHER_COMMANDS:
        meant_words = [OTHER_COMMANDS[word] if word in OTHER_COMMANDS else near[0], *rest]
    elif word.startswith("-") or "=" in word:
        meant_words = ["train", *words]
    elif word in TOPICS:
        meant_words = ["guide", word]
    elif is_run(Path(word).expanduser()):
        meant_words = ["resume", *words]
    elif not rest and resembles(word, RUNS["ppo"]):
        meant_words = ["explain", word]
    else:
        raise Failure(Exit.CONFIG, f"no command '{one_line(word, 60)}'\nthe commands are: {', '.join(commands)}")
    way = command(*map(without_secrets, meant_words))
    raise Failure(Exit.CONFIG, f"no command '{one_line(word, 60)}'; type: {way}\nrlnlp --help lists the commands")


def check_typed(
    name: str, fixed: list[str], arguments: list[str], flags: Collection[str], valued: Collection[str], look: bool
) -> None:
    """Refuse what is no flag and no setting, settings with spaces, another algorithm, a sweep without ``-m``.

    ``flags`` are the long flags, ``valued`` those that a value follows. ``look``: the settings are only shown, and no
    later check will find keys that do not exist.

    Raises:
        Failure: exit 2; a line for each, with the words to type.
    """
    words = [*fixed, *arguments]
    schema = _schema(words)
    settings, faults = _settings(arguments, [*flags, *SHORT_FLAGS], {*valued, *TAKE_A_WORD}, schema)
    faults += [line for word in settings for line in wrong_choices(word, schema, words)]
    faults += [line for word in settings for line in _other_algorithm(name, fixed, word, arguments)]
    faults += [line for word in settings for line in _misplaced(word, schema, chosen_stages(schema, words), look)]
    if not faults and not {"-m", "--multirun", "hydra.mode=MULTIRUN"} & set(arguments):
        faults += [line for word in settings for line in _several(word, name, arguments)]
    if faults:
        raise Failure(Exit.CONFIG, "\n".join(dict.fromkeys(faults)))


def _schema(words: list[str]) -> Any:
    """That of the algorithm that the words choose, themselves or by an experiment; else of the default one."""
    chosen = [word.lstrip("+").partition("=")[::2] for word in words]
    whole = [value for key, value in chosen if key == EXPERIMENT and value in choices_of(EXPERIMENT)]
    named = [value for key, value in chosen if key == "algo"] or [algorithm_of(value) or "" for value in whole]
    return RUNS.get(named[-1] if named else "ppo", RUNS["ppo"])


def _settings(
    arguments: list[str], flags: Collection[str], valued: Collection[str], schema: Any
) -> tuple[list[str], list[str]]:
    """The words that are settings; and what is told of the words that are neither settings nor flags."""
    settings, faults, rest = [], [], list(arguments)
    while rest:
        word = rest.pop(0)
        after = rest[0] if rest else ""
        if word.partition("=")[0] in flags:
            if word in valued and after and "=" not in after:
                rest.pop(0)
        elif word.startswith("-"):
            key, equals, value = word.partition("=")
            if not equals and after and "=" not in after and not re.match("-+[A-Za-z]", after):
                value = rest.pop(0)
            faults.append(f"no flag '{one_line(key, 60)}'{_for_a_flag(key, value, flags, schema)}")
        elif after.startswith("=") or (word.endswith("=") and after and not re.search("^-|=", after)):
            value = word.partition("=")[2] + rest.pop(0).lstrip("=")
            value = rest.pop(0) if not value and rest else value
            typed = _typed(word.rstrip("="), value, schema)
            faults.append(f"no spaces around '='; type {in_quotes(typed)}")
        elif "=" in word or word.startswith("~"):
            settings.append(word)
        else:
            faults.append(_bare(word, after, schema))
            if after and "=" not in after and meant(word.rstrip(":"), keys_of(schema)):
                rest.pop(0)
    return settings, faults


def _for_a_flag(flag: str, value: str, flags: Collection[str], schema: Any) -> str:
    """What was meant by a flag that there is not: a setting, a choice, another flag."""
    key = flag.lstrip("-").replace("-", "_")
    if key in DIRECTORY or (flag == "-o" and value):
        return did_you_mean([f"hydra.run.dir={value or 'DIR'}"])
    if flag in ("--sweep", "--multi-run"):
        return did_you_mean(["-m"])
    if len(key) > 1 and meant(key, keys_of(schema)):
        return hint_for(key, value or MISSING, schema)
    if chosen := _choices(key):
        return did_you_mean(chosen)
    if key in _groups() and value:
        return did_you_mean([f"{key}={value}"])
    names = {each.lstrip("-"): each for each in flags}
    if near := get_close_matches(flag.lstrip("-"), names, 1, 0.7):
        return did_you_mean([names[near[0]]])
    hint = hint_for(key, value or MISSING, schema) if flag.startswith("--") else ""
    return hint or "; settings are typed as key=value"


def _typed(key: str, value: str, schema: Any) -> str:
    """``key=value`` with the key in full, where it is surely meant."""
    found = meant(key, keys_of(schema))
    known = declaration(key) is not None or key in _groups() or len(found) != 1
    return f"{key if known else found[0].key}={value}"


def _bare(word: str, after: str, schema: Any) -> str:
    """What is told of a word that has no equals sign."""
    key, colon, value = word.partition(":")
    shown, found, path = f"'{one_line(word, 60)}'", meant(key, keys_of(schema)), Path(word).expanduser()
    value = value or ("" if "=" in after or after.startswith("-") else after)
    if word == "help":
        return "no setting 'help'; did you mean '--help'?"
    if chosen := _choices(word):
        return f"no setting {shown}{did_you_mean(chosen)}"
    if found and value:
        return f"{shown} has no '='; type {in_quotes(_typed(key, value, schema))}"
    if found and not colon:
        return f"{shown} has no value; type {in_quotes(_typed(key, '...', schema))}"
    if is_run(path):
        return f"{shown} is a run; to go on with it: {command('resume', word)}"
    if path.is_dir() or path.is_file():
        data = next(key for key in ("data.prompts", "data.texts") if key in keys_of(schema))
        key = "model.path" if path.is_dir() else data
        return f"no setting {shown}{did_you_mean([f'{key}={word}'])}"
    return f"no setting {shown}: settings are typed as key=value"


def _other_algorithm(name: str, fixed: list[str], word: str, arguments: list[str]) -> Iterator[str]:
    """Told of ``algo=`` behind a short form that has chosen another, and of the algorithm chosen by its name alone."""
    key, _, value = word.lstrip("+").partition("=")
    if key == "algo" and fixed and word not in fixed:
        way = command("train", *map(without_secrets, arguments))
        yield f"rlnlp {name} trains with {fixed[0]}; type: {way}"
    if key == "algo.name" and value in RUNS and f"algo={value}" not in [*fixed, *arguments]:
        yield f"algo.name does not choose the algorithm{did_you_mean([f'algo={value}'])}"


def _misplaced(word: str, schema: Any, stages: Mapping[str, str], look: bool) -> Iterator[str]:
    """Told of the run directory by another library's name; and, if nothing will parse it, of a key that is none."""
    key, _, value = word.partition("=")
    known = key.partition(".")[0] == "hydra" or key in _groups() or declaration(key) is not None
    known = known and key not in of_others(schema, stages)
    if key.lstrip("-+") in DIRECTORY:
        yield f"no setting '{key}'{did_you_mean([f'hydra.run.dir={value}'])}"
    elif look and KEY.fullmatch(key) and not known and not any(one.startswith(f"{key}.") for one in keys_of(schema)):
        yield f"no setting '{key}'{hint_for(key, value, schema, stages)}"


def _several(word: str, name: str, arguments: list[str]) -> Iterator[str]:
    """Told of several values where there is no ``-m``: the sweep, or the one value that may have been meant."""
    if not re.search(r"[,(*]", word.partition("=")[2]):
        return
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        if not OverridesParser.create().parse_override(word).is_sweep_override():
            return
    except HydraException:
        return  # it is told when Hydra reads all words
    key, _, value = word.partition("=")
    way = command(name, "-m", *map(without_secrets, arguments))
    yield f"{in_quotes(word)} gives several values; for a run with each: {way}"
    known = generic(key.lstrip("+"))
    kind = next((str(f.type) for schema in RUNS.values() for one, f in keys_of(schema).items() if one == known), "")
    if "list[" in kind or "str" in kind:
        in_list = "list[" in kind
        what, one = ("a list of them", f"[{value}]") if in_list else ("one value that has a comma", f"'{value}'")
        yield f"for {what}: {in_quotes(f'{key}={one}')}"


def _choices(word: str) -> list[str]:
    """``group=word`` for each group that has such a choice."""
    return [f"{group}={word}" for group in _groups() if word in choices_of(group)]


def _groups() -> list[str]:
    return sorted(path.name for path in conf_dir().iterdir() if path.is_dir())
