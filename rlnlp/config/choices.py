"""conf/ read without Hydra; and the settings of the plain commands: words ``key=value`` and ``group=choice``."""

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from rlnlp.config.parse import nearest
from rlnlp.errors import Exit, Failure, one_line


def conf_dir() -> Path:
    """The folder of the YAML: inside the package in a wheel, beside it in a checkout.

    Raises:
        Failure: exit 2, if it is in neither folder.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise Failure(Exit.CONFIG, "the conf folder is missing from this installation; install rlnlp again")


def choices_of(group: str) -> list[str]:
    """The names that ``group=`` takes; none if it is no group of conf/."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml")) if group else []


def same_as(group: str, name: str) -> str | None:
    """The choice of ``group`` that ``name`` is only another name of, if any."""
    import yaml

    content = yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text(encoding="utf-8"))
    defaults = content.get("defaults") if isinstance(content, dict) and set(content) == {"defaults"} else None
    other = defaults[0] if isinstance(defaults, list) and len(defaults) == 1 else None
    return other if isinstance(other, str) else None


def algorithm_of(experiment: str) -> str | None:
    """The algorithm that an experiment of conf/ chooses, if it chooses one."""
    from omegaconf import OmegaConf

    loaded: Any = OmegaConf.to_container(OmegaConf.load(conf_dir() / "experiment" / f"{experiment}.yaml"))
    return _overriding(loaded.get("defaults", [])).get("/algo")


def choice(group: str, name: str) -> dict[str, Any]:
    """The settings of ``group`` that ``group=name`` stands for.

    Raises:
        Failure: exit 2, if there is no such choice.
    """
    options = choices_of(group)
    if name not in options:
        hint = nearest(name, options, f"{group}=")
        raise Failure(Exit.CONFIG, f"no {group} '{one_line(name)}'{hint}\nchoose from: {', '.join(options)}")
    found: dict[str, Any] = compose(f"{group}/{name}", (group,))[group]
    return found


def default_choice(group: str, algo: str) -> str | None:
    """The choice of ``group`` that is in force with ``algo`` where none is made; None if it reads no such group."""
    from omegaconf import OmegaConf

    if group == "algo":
        return algo
    loaded: Any = OmegaConf.to_container(OmegaConf.load(conf_dir() / "algo" / f"{algo}.yaml"))
    entries = {key: entry[key] for entry in loaded["defaults"] if isinstance(entry, Mapping) for key in entry}
    words = {key.removeprefix("override ").partition("@")[0]: name for key, name in entries.items()}
    own = words.get(f"/{group}")
    nested = [name for key, name in entries.items() if key.partition("@")[0] == "/algo"]
    return own or next((default_choice(group, each) for each in nested), None)


def compose(file: str, package: tuple[str, ...] = (), chosen: Mapping[str, str] | None = None) -> dict[str, Any]:
    """``conf/file.yaml`` with what its ``defaults:`` include, as Hydra composes it below ``package``; a test compares.

    ``chosen`` has other choices for groups, which come before what a file of conf/algo overrides of others' choices.
    What other files would override is left as it is. Composed here because importing Hydra alone takes longer than an
    answer may.
    """
    from omegaconf import OmegaConf

    path = conf_dir() / f"{file}.yaml"
    if path.read_text(encoding="utf-8").startswith("# @package _global_"):
        package = ()
    loaded: Any = OmegaConf.to_container(OmegaConf.load(path))
    defaults: list[Any] = loaded.pop("defaults", [])
    for part in reversed(package):
        loaded = {part: loaded}
    result: dict[str, Any] = {}
    if file.startswith("algo/"):
        chosen = {**_overriding(defaults), **(chosen or {})}
    for entry in defaults if "_self_" in defaults else [*defaults, "_self_"]:
        if entry == "_self_":
            result = _merge(result, loaded)
            continue
        word, name = next(iter(entry.items())) if isinstance(entry, Mapping) else (entry, "")
        name = (chosen or {}).get(word, name)
        if name is not None and not word.startswith("override "):
            result = _merge(result, compose(*_included(file, package, word, name), chosen))
    return result


def _overriding(defaults: Iterable[Any]) -> dict[str, str]:
    """The choices that a defaults list makes for groups that other files include."""
    entries = [next(iter(entry.items())) for entry in defaults if isinstance(entry, Mapping)]
    return {word.removeprefix("override "): name for word, name in entries if word.startswith("override ")}


def _included(file: str, package: tuple[str, ...], word: str, name: str) -> tuple[str, tuple[str, ...]]:
    """File and package of an entry of the defaults list of ``file``: ``group: name``, or a file without a name."""
    path, _, given = word.partition("@")
    folder = "" if path.startswith("/") else file.rpartition("/")[0]
    group = path.lstrip("/") if name else path.lstrip("/").rpartition("/")[0]
    below = given or group.replace("/", ".") or "_here_"
    if below == "_here_":
        where = package
    elif below.startswith("_global_"):
        where = tuple(below.split(".")[1:])
    else:
        where = (*package, *below.split("."))
    return "/".join(part for part in (folder, path.lstrip("/"), name) if part), where


def _merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with those of ``other`` over them."""
    merged = dict(one)
    for key, value in other.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def split_words(words: Iterable[str], schema: type) -> tuple[list[str], list[str]]:
    """(settings, the other words): a setting begins with a group or key of ``schema`` and has an equals sign."""
    groups = "|".join(f.name for f in fields(schema))
    setting = re.compile(rf"(?:{groups})(?:\.[\w.]*)?=")
    settings: list[str] = []
    others: list[str] = []
    for word in words:
        (settings if setting.match(word) else others).append(word)
    return settings, others


def merged(base: Mapping[str, Any], words: list[str]) -> dict[str, Any]:
    """``base`` with the words merged in, in their order; plain containers for ``parse``.

    Raises:
        Failure: exit 2, for a key below something that is no group.
    """
    result: dict[str, Any] = copy.deepcopy(dict(base))
    for word in words:
        key, _, value = word.partition("=")
        *groups, last = key.split(".")
        if not groups and isinstance(base.get(key), Mapping):
            result[key] = choice(key, value)
            continue
        node: Any = result
        for group in groups:
            node = node.setdefault(group, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise Failure(Exit.CONFIG, f"no setting '{one_line(key)}'")
        node[last] = plain_value(value)
    return result


def plain_value(text: str) -> Any:
    """A value as Hydra reads it: a number, ``true``, ``null``, a list, a map or a text in quotes; else it is a text.

    A path is a text whatever is in it; ``~`` and `` #`` mean nothing to YAML here. Never an interpolation.
    """
    import yaml

    text = text.strip()
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str) and text[0] not in "'\"":
        try:
            return float(value)  # YAML takes 1e-5 for a text
        except ValueError:
            return text
    if isinstance(value, dict | list):
        return value if text[0] in "{[" else text
    if value is None:
        return None if text.lower() == "null" else text
    plain = isinstance(value, str | int | float) and " #" not in text
    return value if plain or text[0] in "'\"" else text


def plain_word(text: str) -> str:
    """``text`` as the value of a word that ``plain_value`` reads back as this text."""
    import yaml

    if plain_value(text) == text:
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10 * len(text) + 9).rstrip()


def is_run(directory: Path) -> bool:
    """True for a run directory, finished or not."""
    return (directory / "run.json").is_file() and (directory / "config.yaml").is_file()
