"""Tab completion: what the last word of a command line may become. Imports nothing heavy."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout, suppress
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from rlnlp.cli.candidates import Candidate, files, functions
from rlnlp.cli.chosen_words import chosen_stages
from rlnlp.cli.help import FLAGS, readable
from rlnlp.cli.hydra_words import long_flags
from rlnlp.commands.explain.terms import terms
from rlnlp.commands.guide import TOPICS, title
from rlnlp.config.choices import choices_of, compose, is_run
from rlnlp.config.hints import ALGORITHM
from rlnlp.config.reward import REWARDS
from rlnlp.config.schema import RUNS, GenerateRun, RankRun, RewardRun, ScoreRun
from rlnlp.config.setting import NAME, alternatives, choosing, declared, of_others
from rlnlp.metrics import METRICS
from rlnlp.run.manifest import REWARD_MODEL

VALUES = {"--cfg": ("job", "hydra", "all"), "-c": ("job", "hydra", "all"), "--info": ("all", "config", "defaults")}
DIRECTORY_FLAGS = ("--config-dir", "-cd")
BESIDE = "--with"  # of generate: before another run or model
VALUED = (BESIDE, "--judge", "--prompt", "--import", "--export")  # flags whose value is not what the command is about
DOMAINS = ("review", "support", "comment", "statement", "randomwalks")  # of the embedded language
OWN = {  # values that a setting of text knows by name
    "device.name": ("auto", "cpu", "cuda", "mps"),
    "model.path": ("embedded", "embedded/randomwalks"),
    "model.tokenizer": ("embedded", "embedded/randomwalks"),
    "data.prompts": ("embedded", *(f"embedded/{domain}" for domain in DOMAINS)),
    "data.texts": ("embedded", "embedded/randomwalks"),
    "algo.reward_model.model": ("embedded",),
}
FILES = ("annotator.path", "data.feedback")  # settings that name a file whose content may change
NEEDED = {"generate": "policy", "rank": REWARD_MODEL}  # what a run must hold for a command
RUN_PLACES = ("outputs/*/*/run.json", "outputs/sweeps/*/*/run.json")
SWEEP_PLACES = ("outputs/sweeps/*/command.json",)


def candidates(
    words: list[str], current: str, training: Mapping[str, tuple[str, ...]], plain: Mapping[str, tuple[str, str]]
) -> list[Candidate]:
    """What ``current``, the word after ``words``, may become, in order.

    ``training`` has the settings in front of the user's for each command that trains, ``plain`` module and help of the
    other commands.
    """
    if not words:
        found: Iterable[Candidate] = [
            *map(Candidate, training),
            *(Candidate(name, help_) for name, (_, help_) in plain.items()),
            *map(Candidate, ("help", "--help", "--version")),
        ]
    elif words[0] == "help":
        found = map(Candidate, [*training, *plain, *TOPICS]) if len(words) == 1 else ()
    elif words[0] in training:
        found = _training(words[0], [*training[words[0]], *words[1:]], current)
    else:
        found = _plain(words[0], words[1:], current) if words[0] in plain else ()
    fit = {one.text: one for one in found if one.text.startswith(current) and one.text.isprintable()}
    return list(fit.values())


def _training(name: str, words: list[str], current: str) -> Iterator[Candidate]:
    before = words[-1] if words else ""
    if before in VALUES:
        yield from map(Candidate, VALUES[before])
    elif before in DIRECTORY_FLAGS:
        yield from files(current, only_directories=True)
    elif current.startswith("-"):
        known = long_flags(name)
        yield from (Candidate(flag, what) for _, what, flag in FLAGS if flag in known)
        yield from [Candidate("-m", "--multirun")] if "--multirun" in known else []
    else:
        schema = RUNS.get(_chosen(words).get("algo", "ppo"), RUNS["ppo"])
        yield from _setting(schema, words, current)


def _setting(schema: Any, words: list[str], current: str) -> Iterator[Candidate]:
    """``current`` as a setting: its key, or, behind an equals sign, its value."""
    sign, body = re.fullmatch(r"([+~]*)(.*)", current, re.DOTALL).groups()  # type: ignore[union-attr]
    key, equals, value = body.partition("=")
    if equals:
        head, comma, last = value.rpartition(",") if {"-m", "--multirun"} & set(words) else ("", "", value)
        for one in _values(schema, words, key, last):
            yield Candidate(f"{sign}{key}={head}{comma}{one.text}", one.help)
        return
    if sign == "~":
        yield from (Candidate(f"~reward.terms.{name}") for name in _terms(words))
        return
    groups = [*dict.fromkeys(full.partition(".")[0] for full, _, _ in declared(schema)), "experiment"]
    yield from (Candidate(f"{sign}{group}=") for group in groups if choices_of(group) and _trains(schema, group))
    yield from (
        Candidate(f"{sign}{choosing(group, '')}", "the algorithm of this stage") for group in alternatives(schema)
    )
    for full, help_ in _keys(schema, words, body):
        end = full.find(".", len(body)) + 1 if full.startswith(body) else 0
        yield Candidate(f"{sign}{full[:end]}") if end else Candidate(f"{sign}{full}=", help_)


def _trains(schema: Any, group: str) -> bool:
    """False for the group of whole runs, where ``schema`` is not that of a run."""
    return group != "experiment" or schema in RUNS.values()


def _keys(schema: Any, words: list[str], begun: str) -> Iterator[tuple[str, str]]:
    """Every key with its meaning; below the names that are there, where names are the user's."""
    others = of_others(schema, chosen_stages(schema, words))
    for key, _, f in declared(schema):
        if key in others or ALGORITHM.fullmatch(key):
            continue
        if NAME not in key:
            yield key, f.metadata["help"]
        elif begun.startswith("reward."):
            yield from ((key.replace(NAME, name), f.metadata["help"]) for name in _terms(words))
    if schema in RUNS.values():
        yield "hydra.run.dir", "the directory of the run"
        yield "hydra.sweep.dir", "the directory of a sweep"


def _values(schema: Any, words: list[str], key: str, value: str) -> Iterator[Candidate]:
    for group, names in alternatives(schema).items():
        yield from map(Candidate, names if key == choosing(group, "").rstrip("=") else ())
    if choices_of(key):
        own = [path.stem for folder in _config_dirs(words) for path in sorted((folder / key).glob("*.yaml"))]
        yield from map(Candidate, [*readable(key, schema), *own])
        return
    if re.fullmatch(r"reward\.terms\.[^.]+\.args\.(run|path)", key):
        yield from _runs(value, "rank")
    if key in ("hydra.run.dir", "hydra.sweep.dir"):
        yield from files(value, only_directories=True)
    generic = re.sub(r"^reward\.terms\.[^.]+\.", f"reward.terms.{NAME}.", key)
    for kind, f in ((kind, f) for one, kind, f in declared(schema) if one == generic):
        kinds = get_args(kind) if type(None) in get_args(kind) else (kind,)
        yield from (
            Candidate(str(choice)) for each in kinds if get_origin(each) is Literal for choice in get_args(each)
        )
        yield from map(Candidate, ("true", "false") if bool in kinds else ())
        yield from map(Candidate, OWN.get(key, ()))
        yield from map(Candidate, ("null",) if type(None) in kinds else ())
        if f.metadata["code"]:
            yield from (Candidate(name, terms()[name].help) for name in REWARDS)
            yield from functions(value)
        elif f.metadata["by_content"] or key.endswith("path") or key in FILES:
            yield from files(value, only_directories=not key.startswith("data.") and key not in FILES)


def _plain(name: str, words: list[str], current: str) -> Iterator[Candidate]:
    """Arguments of a command that is not a Hydra application."""
    before = words[-1] if words else ""
    values = [after for flag, after in pairwise(words) if flag in VALUED]
    given = [word for word in words if not word.startswith("-") and word not in values]
    if before in ("--file", "--prompts", "--csv", "--markdown", "--output", "--import", "--export"):
        yield from files(current, only_directories=before == "--output")
    elif before == BESIDE:
        yield from _runs(current, name)
    elif before == "--judge":
        yield from (Candidate(term, terms()[term].help) for term in REWARDS)
        yield from _runs(current, "rank")
    elif name == "compare" and ({"--where", "--sort"} & {before, _flag_before(words)}):
        yield from _of_comparison(words, current, before)
    elif current.startswith("-"):
        yield from map(Candidate, _flags(name))
    elif name == "guide":
        yield from (Candidate(topic, title(topic)) for topic in TOPICS if not given)
    elif name == "explain":
        yield from _explained()
    elif name == "check-reward":
        if not any("=" not in word for word in given):
            yield from (Candidate(term, terms()[term].help) for term in REWARDS)
            yield from functions(current)
        yield from _setting(RewardRun, words, current)
    elif name == "runs":
        yield from files(current, only_directories=True)
    elif name == "feedback":
        yield from () if given else files(current)
    elif not given or name == "compare":
        yield from _runs(current, name)
    elif name == "rank":
        yield from _setting(RankRun, words, current)
    elif name == "generate":
        yield from _setting(ScoreRun if "--score" in words else GenerateRun, words, current)
    elif name == "resume":
        yield Candidate("resume.allow=", "settings that may change the steps to come")
        yield from _setting(_schema_of(Path(given[0]).expanduser()), words, current)


def _flag_before(words: list[str]) -> str:
    """The flag that the words before belong to, if all after it are settings."""
    flags = [i for i, word in enumerate(words) if word.startswith("-")]
    return words[flags[-1]] if flags and all("=" in word for word in words[flags[-1] + 1 :]) else ""


def _of_comparison(words: list[str], current: str, before: str) -> Iterator[Candidate]:
    """Settings of the first run that was named: as conditions, or as what is sorted by."""
    runs = [run for word in words for run in sorted(Path(word).expanduser().glob("*/config.yaml"))]
    named = [Path(word).expanduser() for word in words if is_run(Path(word).expanduser())]
    schema = _schema_of(next(iter([*named, *(run.parent for run in runs)]), Path()))
    if before == "--sort":
        yield from map(Candidate, ("score", "difference", "kl"))
        yield from (Candidate(key, f.metadata["help"]) for key, _, f in declared(schema) if NAME not in key)
    else:
        yield from _setting(schema, words, current)


def _flags(name: str) -> list[str]:
    """The long flags of a plain command, as its help lists them."""
    module = import_module(f"rlnlp.commands.{'explain.main' if name == 'explain' else name.replace('-', '_')}")
    with io.StringIO() as text, suppress(SystemExit), redirect_stdout(text):
        try:
            module.arguments(["--help"])
        finally:
            found = re.findall(r"(?<![\w-])--[a-z]+", text.getvalue())
    return sorted(set(found))


def _explained() -> Iterator[Candidate]:
    known = {key: f.metadata["help"] for schema in RUNS.values() for key, _, f in declared(schema)}
    yield from (Candidate(group) for group in dict.fromkeys(key.partition(".")[0] for key in known))
    yield from (Candidate(key, help_) for key, help_ in known.items() if NAME not in key)
    yield from (Candidate(name, term.help) for name, term in terms().items())
    yield from (Candidate(name, metric.formula) for metric in METRICS for name in metric.names)


def _runs(current: str, name: str) -> Iterator[Candidate]:
    """The runs below outputs/ that the command can use, and whatever directory has been begun.

    For ``generate`` also the embedded models.
    """
    for pattern in (*(SWEEP_PLACES if name == "compare" else ()), *RUN_PLACES):
        for path in sorted(Path().glob(pattern)):
            if name not in NEEDED or (path.parent / NEEDED[name]).is_dir():
                yield Candidate(str(path.parent))
    yield from map(Candidate, OWN["model.path"] if name == "generate" else ())
    if current:
        yield from files(current, only_directories=True)


def _schema_of(run: Path) -> Any:
    """The schema of the algorithm of a run."""
    text = (run / "config.yaml").read_text(encoding="utf-8") if is_run(run) else ""
    algo = re.search(r"^algo:\n(?:  .*\n)*?  name: (\S+)$", text, re.MULTILINE)
    return RUNS.get(algo[1] if algo else "", RUNS["ppo"])


def _chosen(words: list[str]) -> dict[str, str]:
    """The choices of groups among ``words``; the last one counts."""
    return {key: value for key, _, value in (word.lstrip("+").partition("=") for word in words) if choices_of(key)}


def _terms(words: list[str]) -> list[str]:
    """The names of the reward's terms that ``words`` leave in force."""
    chosen = {group: name for group, name in _chosen(words).items() if name in choices_of(group)}
    entries = {f"/{group}@_global_.{group}": name for group, name in chosen.items()}  # of conf/algo/*.yaml
    composed = compose("train", chosen={"algo": "ppo", **chosen, **entries})
    named = [word.lstrip("+").split(".")[2] for word in words if re.match(r"\+*reward\.terms\.[^.=]+\.", word)]
    return list(dict.fromkeys([*composed.get("reward", {}).get("terms", {}), *named]))


def _config_dirs(words: list[str]) -> list[Path]:
    return [Path(after).expanduser() for flag, after in pairwise(words) if flag in DIRECTORY_FLAGS]
