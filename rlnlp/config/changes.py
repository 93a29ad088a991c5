"""Which settings may change when a run is resumed, by what is declared of each; which of them name code."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rlnlp.config.hints import did_you_mean, keys_of, meant
from rlnlp.config.migrate import new_key
from rlnlp.config.rlhf import Rlhf
from rlnlp.config.schema import RUNS
from rlnlp.config.setting import NAME, declared, leaves
from rlnlp.errors import Exit, Failure, one_line, shell_word

FREE, ALLOWED, NEVER = "free", "allowed", "never"  # as declared by setting()


@cache
def declarations() -> dict[str, Mapping[str, Any]]:
    """What is declared of every setting of a run, by its key; the algorithms agree where they share one."""
    return {key: f.metadata for schema in RUNS.values() for key, _, f in declared(schema)}


@cache
def _groups() -> set[str]:
    return {key[:i] for key in declarations() for i, letter in enumerate(key) if letter == "."}


def declaration(key: str) -> Mapping[str, Any] | None:
    """What is declared of a full key, in which names of the user's may stand; None if it is no setting."""
    return declarations().get(generic(key))


def generic(key: str) -> str:
    """``key`` with ``<name>`` for a name of the user's, and without what is below an argument."""
    found = ""
    for part in key.split("."):
        near = [f"{found}.{each}".lstrip(".") for each in (part, NAME)]
        below = [each for each in near if each in declarations() or each in _groups()]
        if not below:
            return found if found in declarations() else key
        found = below[0]
    return found


def code_in(config: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Full key and value of each setting, wherever it stands, that names a function of the user's."""
    if isinstance(config, dict | list):
        for name, value in config.items() if isinstance(config, dict) else enumerate(config):
            yield from code_in(value, f"{prefix}{name}.")
    if is_dataclass(config):
        for f in fields(config):
            value = vars(config)[f.name]
            if f.metadata["code"] and value is not None and ":" in value:
                yield f"{prefix}{f.name}", value
            yield from code_in(value, f"{prefix}{f.name}.")


def resume_class(key: str) -> str:
    """``free``, ``allowed`` or ``never``, for the full key of a setting."""
    found: str = declarations()[generic(key)]["resume"]
    return found


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Old and new value of each key that differs; null where there was or is none."""
    before, after = dict(leaves(old)), dict(leaves(new))
    keys = [*before, *(key for key in after if key not in before)]
    return {k: [before.get(k), after.get(k)] for k in keys if repr(before.get(k)) != repr(after.get(k))}  # nan is nan


def check_allowed(
    changed: Mapping[str, list[Any]], allow: Collection[str], way: str, falling: bool, recorded: Collection[str] = ()
) -> None:
    """Refuse changes that need to be allowed, and are not, and those that never can be.

    ``falling``: the learning rate falls towards the last step, so that another last step is another rate at each. Of
    the settings ``recorded``, arguments of reward terms, the run knows the content, which is compared instead.

    Raises:
        Failure: exit 6, naming them, with the words that allow them; exit 2, for an allowance that nothing needs.
    """
    bound = {"algo.total_steps"} if falling else set()
    for key in allow:
        known = declaration(key)
        if known is None:
            now = next((now for schema in RUNS.values() if (now := new_key(schema, key)) != key), None)
            found = [f"{way}{one.key}" for schema in RUNS.values() for one in meant(key, keys_of(schema))]
            hint = did_you_mean(found[:1]) or "; it cannot be allowed"
            why = f"is now {now}" if now else f"is no setting{hint}"
            raise Failure(Exit.CONFIG, f"resume.allow: '{one_line(key, 60)}' {why}")
        if known["resume"] != ALLOWED and key not in bound:
            why = f"is of the class '{known['resume']}'; it cannot be allowed"
            raise Failure(Exit.CONFIG, f"resume.allow: '{one_line(key, 60)}' {why}")
    lost = [key for key in changed if resume_class(key) == NEVER]
    if lost:
        raise Failure(
            Exit.RUN, f"{_shown(lost, changed)}: this cannot change within a run\nstart a new one with rlnlp train"
        )
    asked = [key for key in changed if resume_class(key) == ALLOWED or key in bound]
    by_content = {key for key in recorded if generic(key).endswith(".args")}  # a function's name says which of its file
    by_content |= {key for key in asked if declarations()[generic(key)]["by_content"]}
    asked = [key for key in asked if key not in allow and key not in by_content]
    if asked:
        what = f"{_shown(asked, changed)}: the run would not be the one it was"
        raise Failure(Exit.RUN, f"{what}\nto have it so, add: {shell_word(way + ','.join([*sorted(allow), *asked]))}")


def check_total_steps(total: int, done: int, directory: Path, round_steps: int = 0) -> None:
    """Refuse a last step that the run has passed already; ``round_steps`` are those of a round, if it has rounds.

    Raises:
        Failure: exit 6.
    """
    if total < done and round_steps:
        reached = -(-done // round_steps)
        what = f"algo.rounds is {total // round_steps}, but {directory} has reached round {reached} already"
        raise Failure(Exit.RUN, f"{what}\ngive algo.rounds={reached} or more")
    if total < done:
        what = f"algo.total_steps is {total}, but {directory} has done step {done} already"
        raise Failure(Exit.RUN, f"{what}\ngive algo.total_steps={done} or more")


def steps_of_round(algo: Any) -> int:
    """The steps of a round of ``algo``; 0 if it has no rounds."""
    return algo.round_steps if isinstance(algo, Rlhf) else 0


def _shown(keys: list[str], changed: Mapping[str, list[Any]]) -> str:
    return "; ".join(f"{key} {_show(changed[key][0])} -> {_show(changed[key][1])}" for key in keys)


def _show(value: Any) -> str:
    return one_line("null" if value is None else str(value), 40)
