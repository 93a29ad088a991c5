"""Settings of the plain commands: a base of plain data, with ``key=value`` and ``group=choice`` words merged in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from rlnlp.config.parse import nearest
from rlnlp.config.schema import conf_dir
from rlnlp.errors import Exit, Failure, one_line


def split_words(words: Iterable[str], schema: type) -> tuple[list[str], list[str]]:
    """(settings, the other words): a setting begins with a group or key of ``schema`` and has an equals sign."""
    groups = "|".join(f.name for f in fields(schema))
    setting = re.compile(rf"(?:{groups})(?:\.[\w.]*)?=")
    settings: list[str] = []
    others: list[str] = []
    for word in words:
        (settings if setting.match(word) else others).append(word)
    return settings, others


def choice(group: str, name: str) -> dict[str, Any]:
    """The content of ``conf/group/name.yaml``.

    Raises:
        Failure: exit 2, if there is no such choice.
    """
    from omegaconf import OmegaConf

    folder = conf_dir() / group
    options = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in options:
        hint = nearest(name, options)
        raise Failure(Exit.CONFIG, f"no {group} '{one_line(name)}'{hint}\nchoose from: {', '.join(options)}")
    found = OmegaConf.to_container(OmegaConf.load(folder / f"{name}.yaml"))
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}


def merged(base: Mapping[str, Any], words: list[str]) -> dict[str, Any]:
    """``base`` with the words merged in, in their order; plain containers for ``parse``.

    Raises:
        Failure: exit 2, for a key below something that is no group.
    """
    result: dict[str, Any] = {key: dict(v) if isinstance(v, Mapping) else v for key, v in base.items()}
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
    """A value as YAML reads it, and as Hydra does, to whom 1e-5 is a number; never an interpolation."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def is_run(directory: Path) -> bool:
    """True for a run directory, finished or not."""
    return (directory / "run.json").is_file() and (directory / "config.yaml").is_file()
