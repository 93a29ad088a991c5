"""Every setting with all that is known of it: from the schemas, from conf/, from the source. Imports nothing heavy."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rlnlp.commands.explain.names import elsewhere
from rlnlp.commands.explain.reads import Owner, owner, read_at
from rlnlp.config.choices import choice
from rlnlp.config.parse import LIMITS, PLURALS, WORDS, settings
from rlnlp.config.schema import RUNS, GenerateRun, conf_dir

NAME = "<name>"  # stands in a key for a name that the user chooses


@dataclass
class Setting:
    """One key over all algorithms; ``defaults`` by algorithm, ``set_by`` by ``group=choice``."""

    key: str
    unit: str
    kind: str
    limits: dict[str, float]
    meanings: dict[str, str] = field(default_factory=dict)
    choices: list[str] = field(default_factory=list)
    defaults: dict[str, Any] = field(default_factory=dict)
    set_by: dict[str, Any] = field(default_factory=dict)
    owners: set[Owner] = field(default_factory=set)

    @property
    def meaning(self) -> str:
        """What it means; each algorithm's own word where they differ."""
        if len(set(self.meanings.values())) == 1:
            return next(iter(self.meanings.values()))
        return "; ".join(f"{algos}: {meaning}" for meaning, algos in _shared(self.meanings).items())

    @property
    def range(self) -> str:
        """The limits in words, such as ``> 0 and <= 1``."""
        return " and ".join(f"{LIMITS[k][0]} {v:g}" for k, v in self.limits.items())

    @property
    def default(self) -> str:
        """The default; by algorithm, unless all of them have the same."""
        shown = {algo: show(value) for algo, value in self.defaults.items()}
        if set(shown) == set(RUNS) and len(set(shown.values())) == 1:
            return next(iter(shown.values()))
        return ", ".join(f"{algos} {value}" for value, algos in _shared(shown).items())

    def record(self) -> dict[str, Any]:
        """All of it as plain data, for programs."""
        trl, verl = (None if name == "-" else name for name in elsewhere(self.key))
        return {
            "key": self.key, "meaning": self.meaning, "unit": self.unit, "type": self.kind, "choices": self.choices,
            "limits": self.limits, "default": self.defaults, "set_by": self.set_by,
            "read": [str(site) for site in read_at(self.key, self.owners)], "trl": trl, "verl": verl,
        }  # fmt: skip


@cache
def catalogue() -> dict[str, Setting]:
    """Every setting by its key, in the order of the schemas."""
    found: dict[str, Setting] = {}
    for algo, schema in RUNS.items():
        values = composed(algo)
        for key, kind, f, declared in _leaves(schema):
            one = found.setdefault(key, Setting(key, f.metadata["unit"], _kind(kind), _limits(f)))
            one.meanings[algo] = f.metadata["meaning"]
            one.choices += [c for c in map(str, _literals(kind)) if c not in one.choices]
            one.defaults[algo] = _default(f) if NAME in key else value_at(values, key)
            one.owners.add(declared)
    for key, _, _, declared in _leaves(GenerateRun):
        found[key].owners.add(declared)
    for word, values in _chosen():
        for one in found.values():
            value = value_at(values, one.key)
            if value is not MISSING and any(value != default for default in one.defaults.values()):
                one.set_by[word] = value
    return dict(sorted(found.items(), key=lambda item: _group(found, item[0])))


def composed(algo: str) -> dict[str, Any]:
    """The settings of an algorithm as Hydra composes them without overrides; a test compares the two.

    Composed here because importing Hydra alone takes longer than an answer may.
    """
    whole = {key: value for key, value in choice("", "train").items() if key not in ("defaults", "hydra")}
    body = choice("algo", algo)
    for entry in body.pop("defaults"):
        for group, name in entry.items() if isinstance(entry, Mapping) else ():
            whole[group.strip("/")] = choice(group.strip("/"), name)
    return {**whole, **body}


def choices_of(group: str) -> list[str]:
    """The names that ``group=`` takes; none if it is no group of conf/."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml")) if group else []


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


def _shared(words: Mapping[str, str]) -> dict[str, str]:
    """Each word with the algorithms that it is the word of."""
    return {word: " and ".join(algo for algo in words if words[algo] == word) for word in words.values()}


def _leaves(schema: type) -> Iterator[tuple[str, Any, "Field[Any]", Owner]]:
    """Every leaf with the class that declares it; the settings below names of the user's come once, as ``<name>``."""
    for key, kind, f in settings(schema):
        holder: Any = schema
        for part in key.split(".")[:-1]:
            holder = get_type_hints(holder)[part]
        yield key, kind, f, owner(holder, f.name)
        for inner in get_args(kind) if get_origin(kind) is dict else ():
            if is_dataclass(inner) and isinstance(inner, type):
                for below, its, g in settings(inner, f"{key}.{NAME}."):
                    yield below, its, g, owner(inner, g.name)


def _chosen() -> Iterator[tuple[str, dict[str, Any]]]:
    """``group=choice`` and what it sets, from the top, for every choice but that of the algorithm."""
    for folder in sorted(path for path in conf_dir().iterdir() if path.is_dir() and path.name != "algo"):
        for name in choices_of(folder.name):
            with (folder / f"{name}.yaml").open(encoding="utf-8") as file:
                whole = "@package _global_" in file.readline()
            content = choice(folder.name, name)
            yield f"{folder.name}={name}", content if whole else {folder.name: content}


def _default(f: "Field[Any]") -> Any:
    if f.default_factory is not MISSING:
        return f.default_factory()
    return "???" if f.default is MISSING else f.default


def _limits(f: "Field[Any]") -> dict[str, float]:
    return {name: limit for name, limit in f.metadata.items() if name in LIMITS}


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


def _group(found: dict[str, Setting], key: str) -> int:
    """The rank of a key's group among the groups, in the order in which they first come; single keys come first."""
    groups = list(dict.fromkeys(k.partition(".")[0] if "." in k else "" for k in found))
    return ("", *[g for g in groups if g]).index(key.partition(".")[0] if "." in key else "")
