"""Every setting with all that is declared of it, and its values in conf/. Imports nothing heavy."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from rlnlp.config.choices import choices_of, compose, conf_dir
from rlnlp.config.differing import usual_settings
from rlnlp.config.parse import LIMITS, PLURALS, WORDS
from rlnlp.config.schema import RUNS
from rlnlp.config.setting import NAME, alternatives, choosing, declared

ONE_STAGE = [algo for algo, schema in RUNS.items() if not alternatives(schema)]  # others have what these have in stages


@dataclass
class Setting:
    """One key over all algorithms; ``defaults`` by algorithm, ``set_by`` by ``group=choice``."""

    key: str
    kind: str
    unit: str = ""
    trl: str = ""
    verl: str = ""
    limits: dict[str, float] = field(default_factory=dict)
    helps: dict[str, str] = field(default_factory=dict)
    choices: list[str] = field(default_factory=list)
    defaults: dict[str, Any] = field(default_factory=dict)
    set_by: dict[str, Any] = field(default_factory=dict)

    @property
    def help(self) -> str:
        """What it means; in each algorithm, where they differ."""
        return "; ".join(f"{algos}: {text}" if algos else text for text, algos in _by_algo(self.helps, self.helps))

    @property
    def range(self) -> str:
        """The limits in words, such as ``> 0 and <= 1``."""
        return " and ".join(f"{LIMITS[k][0]} {v:g}" for k, v in self.limits.items())

    @property
    def default(self) -> str:
        """The default; by algorithm, unless all of them have the same."""
        shown = {algo: show(value) or "empty" for algo, value in self.defaults.items()}
        return ", ".join(f"{algos} {value}".lstrip() for value, algos in _by_algo(shown, ONE_STAGE))

    def differs_from(self, value: Any) -> bool:
        """True if some algorithm has another default than ``value``."""
        return any(value != default for default in self.defaults.values())

    @property
    def elsewhere(self) -> list[str]:
        """Its names in TRL and in verl."""
        return [name for names in (self.trl, self.verl) if names for name in names.split(", ")]

    def record(self) -> dict[str, Any]:
        """All of it as plain data, for programs."""
        return {
            "key": self.key, "help": self.help, "unit": self.unit, "type": self.kind, "choices": self.choices,
            "limits": self.limits, "default": self.defaults, "set_by": self.set_by, "trl": self.trl or None,
            "verl": self.verl or None,
        }  # fmt: skip


@cache
def catalog() -> dict[str, Setting]:
    """Every setting by its key, in the order of the schemas; single keys first, then group by group."""
    found: dict[str, Setting] = {}
    for algo, schema in RUNS.items():
        values = composed(algo)
        for key, kind, f in declared(schema):
            one = found.setdefault(key, Setting(key, _kind(kind), *(f.metadata[n] for n in ("unit", "trl", "verl"))))
            one.limits = {name: f.metadata[name] for name in LIMITS if name in f.metadata}
            one.helps[algo] = f.metadata["help"]
            one.choices += [c for c in map(str, _literals(kind)) if c not in one.choices]
            one.defaults[algo] = _default(f) if NAME in key else value_at(values, key)
        _add_stages(found, algo, schema)
    for word, values in _chosen():
        for one in found.values():
            value = value_at(values, one.key)
            if value is not MISSING and word not in one.defaults and one.differs_from(value):
                one.set_by[word] = value
    groups = list(dict.fromkeys(["", *map(group_of, found)]))
    return dict(sorted(found.items(), key=lambda item: groups.index(group_of(item[0]))))


def composed(algo: str, stages: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The settings of an algorithm without overrides, but for the algorithms of its ``stages`` by the groups of these.

    Without any they are those of conf/algo/.
    """
    found = usual_settings(algo, tuple((stages or {}).items()))
    return {key: value for key, value in found.items() if key != "hydra"}


def stages_of(key: str) -> dict[str, list[str]]:
    """Where algorithms with stages have the setting ``algo.NAME``: its keys there, by algorithm."""
    group, _, name = key.rpartition(".")
    found = {
        algo: [each for each, _, _ in declared(schema) if re.fullmatch(rf"algo\.\w+\.{re.escape(name)}", each)]
        for algo, schema in RUNS.items()
    }
    return {algo: keys for algo, keys in found.items() if keys and group == "algo"}


def group_of(key: str) -> str:
    """The first word of a key, empty for a key in no group."""
    return key.partition(".")[0] if "." in key else ""


def show(value: Any) -> str:
    """A value in a few words, as it would be typed; the terms of a reward by name and weight."""
    if isinstance(value, Mapping):
        if all(isinstance(term, Mapping) and "fn" in term for term in value.values()) and value:
            return ", ".join(f"{name} {show(term.get('weight', 1))}" for name, term in value.items())
        return "{" + ", ".join(f"{k}: {show(v)}" for k, v in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else "must be given" if value == "???" else str(value)


def value_at(tree: Any, key: str) -> Any:
    """The value of a dotted key, MISSING if it is not there."""
    for part in key.split("."):
        tree = tree.get(part, MISSING) if isinstance(tree, Mapping) else MISSING
    return tree


def _by_algo(texts: Mapping[str, str], everywhere: Collection[str]) -> list[tuple[str, str]]:
    """Each text with the algorithms that have it; with none, if it is the only one and all of ``everywhere`` do."""
    if set(texts) >= set(everywhere) and len(set(texts.values())) == 1:
        return [(next(iter(texts.values())), "")]
    return [(t, " and ".join(a for a in texts if texts[a] == t)) for t in dict.fromkeys(texts.values())]


def _chosen() -> Iterator[tuple[str, dict[str, Any]]]:
    """``group=choice`` and what it sets, from the top, for every choice but that of the algorithm."""
    for group in sorted(path.name for path in conf_dir().iterdir() if path.is_dir() and path.name != "algo"):
        for name in choices_of(group):
            yield f"{group}={name}", compose(f"{group}/{name}", (group,))


def _add_stages(found: Mapping[str, Setting], algo: str, schema: type) -> None:
    """What the settings of stages are with each algorithm that a stage may have."""
    for group, kinds in alternatives(schema).items():
        found[f"{group}.name"].choices = list(kinds)
        for name in list(kinds)[1:]:
            values = composed(algo, {group: name})
            for one in (one for key, one in found.items() if key.startswith(f"{group}.") and NAME not in key):
                value = value_at(values, one.key)
                if one.defaults[algo] is MISSING:
                    one.defaults = {choosing(group, name): value}
                elif value is not MISSING and value != one.defaults[algo] and one.key != f"{group}.name":
                    one.set_by[choosing(group, name)] = value


def _default(f: "Field[Any]") -> Any:
    if f.default_factory is not MISSING:
        return f.default_factory()
    return "???" if f.default is MISSING else f.default


def _literals(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of"
    if get_origin(kind) is dict:
        return "a map of names to terms" if any(map(is_dataclass, get_args(kind))) else "a map of names to values"
    if isinstance(kind, UnionType):
        return " or ".join(map(_kind, get_args(kind)))
    return f"a list of {PLURALS[get_args(kind)[0]]}" if get_origin(kind) is list else WORDS[kind]
