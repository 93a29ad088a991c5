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
    """Every leaf of ``schema``: its full key, type and field."""
    hints = get_type_hints(schema)
    for f in fields(schema):
        kind, key = hints[f.name], f"{prefix}{f.name}"
        if groups := groups_in(kind):
            each = [found for group in groups for found in settings(group, f"{key}.")]
            yield from {found[0]: found for found in reversed(each)}.values() if len(groups) > 1 else each
        else:
            yield key, kind, f


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
