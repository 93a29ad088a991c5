"""From a composed config to checked dataclasses: every problem at once, with its full key. Imports nothing heavy."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from rlnlp.config.hints import Unknown, did_you_mean, of_new_name, unknown_lines
from rlnlp.config.migrate import new_name
from rlnlp.config.setting import group_of, names_in
from rlnlp.errors import Exit, Failure, one_line

T = TypeVar("T")
LIMITS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "gt": (">", operator.gt), "ge": (">=", operator.ge), "lt": ("<", operator.lt), "le": ("<=", operator.le),
}  # fmt: skip
OF_ALGO = re.compile(r"\balgo\.")
LARGEST = 2**53  # beyond, not every whole number is a float, and no setting means one
WORDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null"}
PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts"}


def parse(schema: type[T], composed: Mapping[str, Any], prefix: str = "") -> T:
    """``composed`` (plain containers) as a ``schema``; ``prefix`` comes before the keys in messages.

    Raises:
        Failure: exit 2; one line for each unknown, missing, mistyped, non-finite or out-of-range setting.
    """
    problems: list[str | Unknown] = []
    value = _dataclass(schema, composed, prefix, problems)
    if problems:
        chosen = names_in(schema, composed, prefix)
        told = [[p] if isinstance(p, str) else unknown_lines(p, schema, prefix, chosen) for p in problems]
        raise Failure(Exit.CONFIG, "\n".join(line for lines in told for line in lines))
    parsed: T = value
    return parsed


def nearest(word: str, options: list[str], before: str = "") -> str:
    """``; did you mean 'x'?`` with what comes ``before`` an option when it is typed, or nothing if none is near."""
    near = get_close_matches(word, options, 1, 0.6) or [one for one in options if one.lower() == word.lower()]
    return did_you_mean([before + one for one in near[:1]])


def _dataclass(schema: Any, node: Any, prefix: str, problems: list[str | Unknown]) -> Any:
    if not isinstance(node, Mapping):
        problems.append(f"{prefix.rstrip('.') or 'config'} must be a group of settings, got {_show(node)}")
        return None
    hints, known, before = get_type_hints(schema), {f.name: f for f in fields(schema)}, len(problems)
    for key in node:
        if key not in known:
            problems.append(_unknown(schema, str(key), node[key], prefix, known))
    problems.extend(f"{prefix}{name} is missing" for name in _missing(schema, node))
    values = {}
    for name, f in known.items():
        if name in node:
            values[name] = _value(hints[name], node[name], prefix + name, f.metadata, problems)
    if len(problems) > before:
        return None
    made = schema(**values)
    if hasattr(made, "problems"):
        problems.extend(f"{prefix}{key} {_with_full_keys(what, prefix)}" for key, what in made.problems())
    return made


def _with_full_keys(text: str, prefix: str) -> str:
    """``text`` about the settings of a stage, which calls them those of ``algo``, with their full keys."""
    return OF_ALGO.sub(prefix, text) if prefix.startswith("algo.") else text


def _unknown(schema: type, name: str, value: Any, prefix: str, known: Mapping[str, Any]) -> str | Unknown:
    if (now := new_name(schema, name)) != name:
        return f"{prefix}{name} is now {prefix}{now}"
    return Unknown(f"{prefix}{name}", value, tuple(f"{prefix}{each}" for each in known))


def _value(kind: Any, node: Any, key: str, limits: Mapping[str, Any], problems: list[str | Unknown]) -> Any:
    if node == "???":
        problems.append(f"{key} is missing")
        return None
    if (group := group_of(kind, node)) is not None:
        return _dataclass(group, node, f"{key}.", problems)
    if get_origin(kind) is dict:
        return _map(get_args(kind)[1], node, key, problems)
    if isinstance(node, list) and (items := _items(kind)):
        return [_value(items[0], item, f"{key}[{i}]", limits, problems) for i, item in enumerate(node)]
    return _leaf(kind, node, key, limits, problems)


def _map(kind: Any, node: Any, key: str, problems: list[str | Unknown]) -> Any:
    if not isinstance(node, Mapping):
        problems.append(f"{key} must be a map of names to values, got {_show(node)}")
        return None
    if kind is Any:
        problems.extend(f"{key}.{name} is missing" for name, value in node.items() if value == "???")
        return dict(node)
    found, whole = {}, [str(name) for name, value in node.items() if not _missing(kind, value)]
    for name, value in node.items():
        before, below = len(problems), f"{key}.{name}"
        found[str(name)] = _value(kind, value, below, {}, problems)
        if missing := _missing(kind, value):  # it is told with what may have been meant by the name
            hinted = f"{below}.{missing[0]} is missing{of_new_name(kind, below, value, whole)}"
            problems[before:] = [hinted if p == f"{below}.{missing[0]} is missing" else p for p in problems[before:]]
    return found


def _missing(kind: Any, node: Any) -> list[str]:
    """The settings of ``kind`` that have no default, and that ``node``, if it holds settings, does not have."""
    if not is_dataclass(kind) or not isinstance(node, Mapping):
        return []
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    return [name for name in needed if name not in node]


def _items(kind: Any) -> tuple[Any, ...]:
    """The type of a list's items, in a tuple; empty if ``kind`` allows no list."""
    lists = [k for k in (get_args(kind) if isinstance(kind, UnionType) else (kind,)) if get_origin(k) is list]
    return get_args(lists[0]) if lists else ()


def _word(kind: Any) -> str:
    return f"a list of {PLURALS[get_args(kind)[0]]}" if get_origin(kind) is list else WORDS[kind]


def _leaf(kind: Any, node: Any, key: str, limits: Mapping[str, Any], problems: list[str | Unknown]) -> Any:
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        if node not in choices:
            problems.append(
                f"{key} must be one of {', '.join(choices)}, got {_show(node)}{nearest(str(node), choices, f'{key}=')}"
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
