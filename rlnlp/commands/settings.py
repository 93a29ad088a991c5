"""Settings of the plain commands: a base of plain data, with ``key=value`` and ``group=choice`` words merged in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from rlnlp.errors import Exit, Failure, one_line
from rlnlp.hydra_app import conf_dir
from rlnlp.parse import nearest


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

    place = conf_dir() / group
    options = sorted(path.stem for path in place.glob("*.yaml"))
    if name not in options:
        hint = nearest(name, options)
        raise Failure(Exit.CONFIG, f"no {group} '{one_line(name)}'{hint}\nchoose from: {', '.join(options)}")
    found = OmegaConf.to_container(OmegaConf.load(place / f"{name}.yaml"))
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}


def merged(base: Mapping[str, Any], words: list[str]) -> dict[str, Any]:
    """``base`` with the words merged in, in their order; plain containers for ``parse``.

    Raises:
        Failure: exit 2, if a word cannot be read.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    result = OmegaConf.create(dict(base))
    for word in words:
        key, _, value = word.partition("=")
        try:
            if "." not in key and isinstance(base.get(key), Mapping):
                result[key] = choice(key, value)
            else:
                OmegaConf.update(result, key, OmegaConf.from_dotlist([f"x={value}"])["x"], force_add=True)
        except (OmegaConfBaseException, YAMLError, ValueError) as error:
            raise Failure(Exit.CONFIG, f"{one_line(word)} cannot be read: {one_line(str(error))}") from error
    container = OmegaConf.to_container(result, resolve=False)
    return {str(key): value for key, value in container.items()} if isinstance(container, dict) else {}


def is_run(directory: Path) -> bool:
    """True for a run directory, finished or not."""
    return (directory / "run.json").is_file() and (directory / "config.yaml").is_file()
