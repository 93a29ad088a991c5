"""From a composed config to checked dataclasses: every problem at once, with its full key. Imports nothing heavy."""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from rlnlp.config.migrate import new_name
from rlnlp.errors import Exit, Failure, one_line

T = TypeVar("T")
LIMITS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "gt": (">", operator.gt), "ge": (">=", operator.ge), "lt": ("<", operator.lt), "le": ("<=", operator.le),
}  # fmt: skip
NAME = "<name>"  # in a key, for a name that the user chooses
LARGEST = 2**53  # beyond, not every whole number is a float, and no setting means one
WORDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null"}
PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts"}


def parse(schema: type[T], composed: Mapping[str, Any], prefix: str = "") -> T:
    """``composed`` (plain containers) as a ``schema``; ``prefix`` comes before the keys in messages.

    Raises:
        Failure: exit 2; one line for each unknown, missing, mistyped, non-finite or out-of-range setting.
    """
    problems: list[str] = []
    value = _dataclass(schema, composed, prefix, problems)
    if problems:
        raise Failure(Exit.CONFIG, "\n".join(problems))
    parsed: T = value
    return parsed


def settings(schema: type, prefix: str = "") -> Iterator[tuple[str, Any, "Field[Any]"]]:
    """Every leaf of ``schema``: its full key, type and field."""
    hints = get_type_hints(schema)
    for f in fields(schema):
        kind, key = hints[f.name], f"{prefix}{f.name}"
        if is_dataclass(kind):
            yield from settings(kind, f"{key}.")  # type: ignore[arg-type]
        else:
            yield key, kind, f


def declared(schema: type, prefix: str = "") -> Iterator[tuple[str, Any, "Field[Any]"]]:
    """What ``settings`` gives; and what is below names of the user's, once for each map, as ``<name>``."""
    for key, kind, f in settings(schema, prefix):
        yield key, kind, f
        for inner in get_args(kind) if get_origin(kind) is dict else ():
            if is_dataclass(inner) and isinstance(inner, type):
                yield from declared(inner, f"{key}.{NAME}.")


def nearest(word: str, options: list[str]) -> str:
    """``; did you mean 'x'?``, or nothing if no option is near."""
    near = get_close_matches(word, options, 1, 0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def _dataclass(schema: Any, node: Any, prefix: str, problems: list[str]) -> Any:
    if not isinstance(node, Mapping):
        problems.append(f"{prefix.rstrip('.') or 'config'} must be a group of settings, got {_show(node)}")
        return None
    hints, known, before = get_type_hints(schema), {f.name: f for f in fields(schema)}, len(problems)
    for key in node:
        if key not in known:
            problems.append(_unknown(schema, str(key), prefix, known))
    values = {}
    for name, f in known.items():
        if name not in node and f.default is MISSING and f.default_factory is MISSING:
            problems.append(f"{prefix}{name} is missing")
        elif name in node:
            values[name] = _value(hints[name], node[name], prefix + name, f.metadata, problems)
    if len(problems) > before:
        return None
    made = schema(**values)
    if hasattr(made, "problems"):
        problems.extend(f"{prefix}{key} {what}" for key, what in made.problems())
    return made


def _unknown(schema: type, key: str, prefix: str, known: Mapping[str, Any]) -> str:
    if (now := new_name(schema, key)) != key:
        return f"{prefix}{key} is now {prefix}{now}"
    groups = f"the settings of {prefix.rstrip('.')}" if prefix else "the groups"
    return f"no setting '{prefix}{key}'" + (nearest(key, list(known)) or f"; {groups} are: {', '.join(known)}")


def _value(kind: Any, node: Any, key: str, limits: Mapping[str, Any], problems: list[str]) -> Any:
    if node == "???":
        problems.append(f"{key} is missing")
        return None
    if is_dataclass(kind):
        return _dataclass(kind, node, f"{key}.", problems)
    if get_origin(kind) is dict:
        return _map(get_args(kind)[1], node, key, problems)
    if isinstance(node, list) and (items := _items(kind)):
        return [_value(items[0], item, f"{key}[{i}]", limits, problems) for i, item in enumerate(node)]
    return _leaf(kind, node, key, limits, problems)


def _map(kind: Any, node: Any, key: str, problems: list[str]) -> Any:
    if not isinstance(node, Mapping):
        problems.append(f"{key} must be a map of names to values, got {_show(node)}")
        return None
    if kind is Any:
        problems.extend(f"{key}.{name} is missing" for name, value in node.items() if value == "???")
        return dict(node)
    return {str(name): _value(kind, value, f"{key}.{name}", {}, problems) for name, value in node.items()}


def _items(kind: Any) -> tuple[Any, ...]:
    """The type of a list's items, in a tuple; empty if ``kind`` allows no list."""
    lists = [k for k in (get_args(kind) if isinstance(kind, UnionType) else (kind,)) if get_origin(k) is list]
    return get_args(lists[0]) if lists else ()


def _word(kind: Any) -> str:
    return f"a list of {PLURALS[get_args(kind)[0]]}" if get_origin(kind) is list else WORDS[kind]


def _leaf(kind: Any, node: Any, key: str, limits: Mapping[str, Any], problems: list[str]) -> Any:
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        if node not in choices:
            problems.append(
                f"{key} must be one of {', '.join(choices)}, got {_show(node)}{nearest(str(node), choices)}"
            )
        return node
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    given = node
    if type(node) is int and abs(node) > LARGEST:
        problems.append(f"{key} must be at most {LARGEST}, got {_show(node)}")
        return None
    if float in kinds and type(node) is int:
        node = float(node)
    if type(node) not in kinds:
        whole = isinstance(node, float) and int in kinds and math.isfinite(node) and node == int(node)
        hint = f"; write {int(node)}" if whole else ""
        problems.append(f"{key} must be {' or '.join(map(_word, kinds))}, got {_show(node)}{hint}")
    elif isinstance(node, float) and not math.isfinite(node):
        problems.append(f"{key} must be finite, got {node}")
    elif node is not None and not all(LIMITS[k][1](node, v) for k, v in limits.items() if k in LIMITS):
        want = " and ".join(f"{LIMITS[k][0]} {v:g}" for k, v in limits.items() if k in LIMITS)
        problems.append(f"{key} must be {want}, got {_show(given)}")
    return node


def _show(node: Any) -> str:
    return "null" if node is None else one_line(repr(node), 60)
