"""How a setting is declared, once: what it means, its limits, what a resumed run may do with it, its other names."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

Problem = tuple[str, str]  # key below the object's own, what is wrong
NAME = "<name>"  # in a key, for a name that the user chooses
Resume = Literal["free", "allowed", "never"]
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"  # groups of verl's settings


def setting(
    help: str,
    unit: str = "",
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    resume: Resume = "allowed",
    by_content: bool = False,
    code: bool = False,
    trl: str = "",
    verl: str = "",
    default: Any = MISSING,
) -> Any:
    """A field of a settings dataclass; its value is in conf/, and only below names of the user's has it a ``default``.

    ``resume``: what a resumed run may do with it. ``free``: no byte of the steps depends on it. ``allowed``: the steps
    from now on are others, so it must be asked for by name. ``never``: the state no longer fits. ``by_content``: the
    setting names a file or a model, and its content must not change rather than its name. ``code``: the value may be a
    function of the user's, ``file.py:function``. ``trl``, ``verl``: the names there; older or algorithm-bound ones
    after a comma, none where such a setting is missing or means something else.
    """
    limits = {name: limit for name, limit in (("gt", gt), ("ge", ge), ("lt", lt), ("le", le)) if limit is not None}
    metadata = {
        "help": help, "unit": unit, "resume": resume, "by_content": by_content, "code": code, "trl": trl, "verl": verl,
        **limits,
    }  # fmt: skip
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def settings(schema: type, prefix: str = "") -> Iterator[tuple[str, Any, "Field[Any]"]]:
    """Every leaf of ``schema``: its full key, type and field; of groups that share one, as the first has it."""
    hints = get_type_hints(schema)
    for f in fields(schema):
        kind, key = hints[f.name], f"{prefix}{f.name}"
        if groups := groups_in(kind):
            found: dict[str, tuple[str, Any, Field[Any]]] = {}
            for each in (each for group in groups for each in settings(group, f"{key}.")):
                found.setdefault(each[0], each)
            yield from found.values()
        else:
            yield key, kind, f


def alternatives(schema: type, prefix: str = "") -> dict[str, dict[str, type]]:
    """The groups that may be one of several schemas, by their full keys: each schema by the name that chooses it."""
    found: dict[str, dict[str, type]] = {}
    for name, kind in get_type_hints(schema).items():
        groups = groups_in(kind)
        if len(groups) > 1:
            found[f"{prefix}{name}"] = {get_args(get_type_hints(each)["name"])[0]: each for each in groups}
        for each in groups:
            found |= alternatives(each, f"{prefix}{name}.")
    return found


def of_others(schema: type, chosen: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    """The keys that only others than the ``chosen`` schemas have: the word that would choose the first of these.

    ``chosen`` is the name of each group that may be one of several schemas, by its full key; else it is the first.
    """
    found: dict[str, str] = {}
    for group, kinds in alternatives(schema, prefix).items():
        own = kinds.get(chosen.get(group, ""), next(iter(kinds.values())))
        keys = {key for key, _, _ in settings(own, f"{group}.")}
        for name, kind in kinds.items():
            others = (key for key, _, _ in settings(kind, f"{group}.") if key not in keys)
            found |= {key: choosing(group, name) for key in others if key not in found}
    return found


def names_in(schema: type, node: Any, prefix: str = "") -> dict[str, str]:
    """The names that settings of ``schema`` give to its groups that may be one of several, by their full keys."""
    found = {}
    for group in alternatives(schema):
        inner = node
        for part in (*group.split("."), "name"):
            inner = inner.get(part) if isinstance(inner, Mapping) else None
        found[f"{prefix}{group}"] = str(inner)
    return found


def choosing(group: str, name: str) -> str:
    """The word that chooses the schema called ``name`` for the nested ``group``: ``algo@algo.policy=ppo``."""
    return f"{group.partition('.')[0]}@{group}={name}"


def groups_in(kind: Any) -> list[type]:
    """The schemas of a group of settings: several, if it may have one of them; none of what is no group."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    return list(kinds) if all(isinstance(each, type) and is_dataclass(each) for each in kinds) else []


def group_of(kind: Any, node: Any) -> type | None:
    """The schema of the group ``node``: of several the one with its ``name``, or the first; None if it is no group."""
    groups = groups_in(kind)
    name = node.get("name") if isinstance(node, Mapping) else None
    named = [each for each in groups if name in get_args(get_type_hints(each).get("name"))]
    return next(iter([*named, *groups]), None)


def declared(schema: type, prefix: str = "") -> Iterator[tuple[str, Any, "Field[Any]"]]:
    """What ``settings`` gives; and what is below names of the user's, once for each map, as ``<name>``."""
    for key, kind, f in settings(schema, prefix):
        yield key, kind, f
        for inner in get_args(kind) if get_origin(kind) is dict else ():
            if is_dataclass(inner) and isinstance(inner, type):
                yield from declared(inner, f"{key}.{NAME}.")


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of nested settings with its full key."""
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, node
