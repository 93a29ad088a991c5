"""``rlnlp train --help`` and that of its short forms: parts, settings with their values in force, flags."""

import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rlnlp.cli.hydra_words import CHECK
from rlnlp.commands.explain.catalog import group_of, show, value_at
from rlnlp.commands.explain.main import laid_out
from rlnlp.commands.explain.terms import terms
from rlnlp.config.choices import choice, choices_of, same_as
from rlnlp.config.hints import ALGORITHM
from rlnlp.config.schema import RUNS
from rlnlp.config.setting import alternatives, choosing, names_in, of_others, settings
from rlnlp.errors import one_line, safe_text, shell_word

ORDER = (
    "algo",
    "model",
    "sampler",
    "reward",
    "annotator",
    "data",
    "heldout",
    "checkpoint",
    "device",
    "samples",
    "tracker",
)
FLAGS = (  # as they are typed, what they do, and the flag itself
    ("-m, --multirun", "a run for each combination of values such as seed=1,2", "--multirun"),
    ("--dry-run", "check everything, say what would be trained on what, make nothing", "--dry-run"),
    ("--json", "print a record for programs", "--json"),
    ("--cfg job [-p PART]", "print the composed settings, or those of one part", "--cfg"),
    ("--config-dir DIR", "a directory with choices and experiments of your own", "--config-dir"),
    ("--info", "where the settings come from, and how they are composed", "--info"),
    ("--hydra-help", "the flags of Hydra, which composes the settings", "--hydra-help"),
    ("-h, --help", "this page; with settings behind it, as they then are", "--help"),
)
EXPLAIN = (
    "rlnlp explain KEY prints a setting's limits, default, and name in TRL and verl; "
    "rlnlp guide lists the pages of the handbook."
)
CHECKS = "Checks the settings of a run: what would go wrong, how long it takes, what it needs; trains nothing."
LONGEST = 34  # columns of a label; a longer one has a line of its own
Row = tuple[str, str]  # label, text


def show_help(
    name: str, composed: Mapping[str, Any], chosen: Mapping[str, str], directories: Sequence[Path], flags: Sequence[str]
) -> None:
    """Print the page of the command ``name`` for the ``composed`` settings and the choice of each group.

    ``directories`` may hold further choices; of the flags those are listed that are among ``flags``.
    """
    width = shutil.get_terminal_size().columns
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    schema = RUNS.get(str(value_at(composed, "algo.name")), RUNS["ppo"])
    others = " or ".join(f"algo={algo} --help" for algo, other in RUNS.items() if other is not schema)
    any_algorithm = name in ("train", CHECK)
    about = f"{_about(schema)} {others} shows another algorithm." if any_algorithm else _about(schema)
    about = f"{CHECKS} {about}" if name == CHECK else about
    lines = [f"usage: rlnlp {name} [key=value ...] [flags]", "", textwrap.fill(about, width)]
    parts = {group: part for group, part in chosen.items() if group != "algo" or any_algorithm}
    for title, rows in _sections(schema, composed, parts, directories, flags):
        lines += ["", f"{bold}{safe_text(title)}{plain}"]
        column = min(max(len(label) for label, _ in rows), LONGEST) + 2
        for label, content in rows:
            lines += laid_out(safe_text(label), safe_text(content), column, width)
    print("\n".join([*lines, "", textwrap.fill(EXPLAIN, width)]))


def _about(schema: Any) -> str:
    return (get_type_hints(schema)["algo"].__doc__ or "").split("\n")[0]


def _sections(
    schema: Any,
    composed: Mapping[str, Any],
    chosen: Mapping[str, str],
    directories: Sequence[Path],
    flags: Sequence[str],
) -> Iterator[tuple[str, list[Row]]]:
    groups = {f.name: f.metadata["help"] for f in fields(schema)}
    parts = [group for group in (*ORDER, "experiment") if group in chosen or group == "experiment"]
    yield (
        "Choose parts with part=choice; * is in force",
        [
            *((group, _choices(group, schema, chosen.get(group), directories)) for group in parts),
            *(_stage(group, kinds, composed) for group, kinds in alternatives(schema).items()),
        ],
    )
    yield "Flags, before or after settings", [(typed, what) for typed, what, flag in FLAGS if flag in flags]
    found: dict[str, list[Row]] = {group: [] for group in (*ORDER, "")}
    others = of_others(schema, names_in(schema, composed))
    for key, kind, f in settings(schema):
        if key == "reward.terms":
            found["reward"] = list(_terms(value_at(composed, key)))
        elif not ALGORITHM.fullmatch(key) and key not in others:
            found[group_of(key)].append(_setting(key, kind, f.metadata, value_at(composed, key)))
    for group, rows in found.items():
        if rows:
            yield (f"{group}: {groups[group]}" if group else "beside the groups", rows)


def readable(group: str, schema: type) -> list[str]:
    """The choices of a group that an algorithm with this schema can read."""
    kind = get_type_hints(schema).get(group)
    if kind is None or group == "algo":
        return choices_of(group)
    names = {f.name for f in fields(kind)}
    return [name for name in choices_of(group) if set(choice(group, name)) <= names]


def _choices(group: str, schema: Any, chosen: str | None, directories: Sequence[Path]) -> str:
    """The choices of a group, with a mark on the one in force."""
    own = [path.stem for folder in directories for path in sorted((folder / group).glob("*.yaml"))]
    fit = readable(group, schema)
    same = {name: same_as(group, name) for name in fit}
    names = [f"{name} (={same[name]})" if same[name] else name for name in fit if not same[name] or name != "default"]
    return "  ".join(f"*{one}" if one.partition(" ")[0] == chosen else one for one in dict.fromkeys([*names, *own]))


def _stage(group: str, kinds: Mapping[str, type], composed: Mapping[str, Any]) -> Row:
    """What chooses the algorithm of a stage, and its choices with a mark on the one in force."""
    chosen = value_at(composed, f"{group}.name")
    return choosing(group, "").rstrip("="), "  ".join(f"*{name}" if name == chosen else name for name in kinds)


def _setting(key: str, kind: Any, declared: Mapping[str, Any], value: Any) -> Row:
    """``key=value``, and what it means, with the choices or the unit."""
    choices = [str(one) for one in get_args(kind)] if get_origin(kind) is Literal else []
    more = f" ({', '.join(choices)})" if choices else f" [{declared['unit']}]" if declared["unit"] else ""
    must = value in ("???", MISSING)
    return _word(key, "..." if must else value), f"{declared['help']}{more}{'; must be given' if must else ''}"


def _terms(found: Any) -> Iterator[Row]:
    """The terms of the reward by weight, what each measures, and how to add one."""
    for name, term in found.items() if isinstance(found, Mapping) else ():
        fn, weight = (term.get("fn", "???"), term.get("weight", 1)) if isinstance(term, Mapping) else ("???", 1)
        known = terms().get(fn)
        about = re.split(r"[.;](?:\s|$)", known.help)[0] if known else f"the function {one_line(str(fn))}"
        yield _word(f"reward.terms.{name}.weight", weight), about
    yield (
        "reward.terms.NAME.fn=TERM",
        f"adds a built-in term: {', '.join(dict.fromkeys(t.fn for t in terms().values()))}",
    )
    yield "reward.terms.NAME.fn=FILE.py:FUNCTION", "adds a function of your own: rlnlp guide rewards"
    yield "~reward.terms.NAME", "takes a term out; rlnlp explain reward lists what a term takes"


def _word(key: str, value: Any) -> str:
    return shell_word(one_line(f"{key}={show(value)}", 100))
