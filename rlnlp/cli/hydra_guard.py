"""What Hydra may be given: all of it but what names code to run, and what rlnlp does itself.

Only what is composed is looked at. Hydra's own filter is not a security boundary.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rlnlp.errors import Exit, Failure, one_line

FREE = ("run", "sweep", "launcher", "sweeper", "help", "hydra_help", "verbose", "searchpath", "mode", "output", "env")
FREE_BELOW = {"job": ("name", "config")}  # of these groups, the keys that may be set
OWN = {  # what may not be set: why
    "callbacks": "it names code to run",
    "job_logging": "a run logs to train.log in its directory, and logging settings can name code to run",
    "hydra_logging": "a run logs to train.log in its directory, and logging settings can name code to run",
    "output_subdir": "a run directory keeps its own config.yaml; Hydra's copies could hold secrets",
    "job.chdir": "every job runs in the directory that rlnlp was started in, so that paths mean the same in each",
    "job.env_set": "set environment variables in the shell that starts rlnlp: they can make it run other code",
    "job.env_copy": "set environment variables in the shell that starts rlnlp: they can make it run other code",
}
PACKAGE = re.compile(r"\s*#\s*@package\s+(\S+)")
NAMES_CODE = ("_target_", "()", "class")
ALWAYS = (  # given to Hydra after all words of the user's, whose files could say otherwise
    "hydra/job_logging=disabled", "hydra/hydra_logging=disabled", "hydra.output_subdir=null", "hydra.job.chdir=false",
)  # fmt: skip


def check_words(words: list[str]) -> None:
    """Refuse settings of Hydra's that name code to run, or that are not the user's to set.

    Raises:
        Failure: exit 2, naming the key and why.
    """
    for word in words:
        key, _, value = word.lstrip("+~").partition("=")
        group = key.partition("@")[0]
        if word in ALWAYS:
            continue
        if "_target_" in word:
            raise Failure(Exit.CONFIG, f"{one_line(word, 80)}: _target_ names code to run, and settings name none")
        if key == "hydra.searchpath" and "pkg:" in value:
            raise Failure(Exit.CONFIG, _package(one_line(value, 80)))
        if why := _refused(tuple(group.replace("/", ".").split("."))):
            raise Failure(Exit.CONFIG, f"{one_line(key, 80)} cannot be set: {why}")


def check_searchpath(primary: Path) -> None:
    """Refuse a primary config whose search path would import a package, before Hydra reads it.

    Raises:
        Failure: exit 2.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    loaded = _loaded(primary)
    try:
        listed = OmegaConf.select(loaded, "hydra.searchpath")
    except OmegaConfBaseException:
        listed = None  # Hydra tells what is wrong with it
    for place in listed or []:
        if str(place).startswith("pkg:"):
            raise Failure(Exit.CONFIG, f"{primary}: {_package(one_line(str(place), 80))}")


def check_composed(config: Any, files: Iterable[tuple[Path, str]]) -> None:
    """Refuse what reaches into Hydra beyond what ``check_words`` lets through, in what is composed.

    ``files`` are those that ``config`` was composed of, each with the package that its content went to.

    Raises:
        Failure: exit 2, naming file and key, and why; or a file or search path that cannot be read.
    """
    hydra = config.hydra
    for source in hydra.runtime.config_sources:
        if "searchpath" in source.provider and not (source.schema == "file" and Path(source.path).is_dir()):
            raise Failure(Exit.CONFIG, f"hydra.searchpath: no such directory: {one_line(source.path)}")
    for path, package in files:
        _check_file(path, tuple(part for part in package.split(".") if part and part != "_global_"))
    for key in _taken_from_elsewhere(config):
        raise Failure(Exit.CONFIG, f"{key} takes its settings from elsewhere (${{...}}), where they could name code")
    if hydra.callbacks or hydra.job.env_set:
        key = "callbacks" if hydra.callbacks else "job.env_set"
        raise Failure(Exit.CONFIG, f"hydra.{key} cannot be set: {OWN[key]}")


def check_directories(directories: Iterable[Path]) -> None:
    """Check every file of ``directories`` of the user's: which of them a sweeper will have composed is not known yet.

    Raises:
        Failure: exit 2, as ``check_composed``.
    """
    for directory in directories:
        for path in sorted(directory.rglob("*.y*ml")):
            group = path.relative_to(directory).parts[:-1]
            header = PACKAGE.match(path.read_text(encoding="utf-8", errors="replace"))
            package = header[1].split(".") if header else group
            _check_file(path, tuple(part for part in package if part != "_global_"))


def _refused(parts: tuple[str, ...]) -> str | None:
    """Why a full key may not be set, as its parts; None if it may."""
    if parts[0] != "hydra":
        return None
    if len(parts) == 1:
        return "set the keys below it, one by one"
    first, below = parts[1], parts[2] if len(parts) > 2 else ""
    if first in FREE or below in FREE_BELOW.get(first, ()):
        return None
    if first in FREE_BELOW and not below:
        return "set the keys below it, one by one"
    return OWN.get(first) or OWN.get(f"{first}.{below}") or "Hydra fills it in, or rlnlp has no use for it"


def _check_file(path: Path, package: tuple[str, ...]) -> None:
    from omegaconf import OmegaConf

    content = OmegaConf.to_container(_loaded(path), resolve=False)
    defaults = content.pop("defaults", []) if isinstance(content, dict) else []
    for entry in defaults if isinstance(defaults, list) else []:
        word, name = next(iter(entry.items())) if isinstance(entry, dict) else (str(entry), "")
        group = str(word).removeprefix("override ").removeprefix("optional ").strip().lstrip("/").partition("@")[0]
        why = None if f"{group}={name}" in ALWAYS else _refused(tuple(group.split("/")))
        if why:
            raise Failure(Exit.CONFIG, f"{path}: defaults: {one_line(str(word), 80)} cannot be chosen: {why}")
    for parts, value in _leaves(content, package):
        if parts[0] != "hydra" or f"{'.'.join(parts)}={json.dumps(value, default=str)}" in ALWAYS:
            continue
        named = next((part for part in parts if part in NAMES_CODE), None)
        why = f"{named} names code to run" if named else _refused(parts)
        if why:
            raise Failure(Exit.CONFIG, f"{path}: {'.'.join(parts)} cannot be set: {why}")


def _leaves(node: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value with the parts of its full key; an empty map is one."""
    pairs = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    for name, value in pairs:
        yield from _leaves(value, (*above, str(name)))
    if not pairs and above:
        yield above, node


def _taken_from_elsewhere(config: Any) -> Iterator[str]:
    """The keys of Hydra's own settings that are maps or lists from elsewhere in the settings."""
    from omegaconf import OmegaConf

    def below(node: Any, key: str) -> Iterator[str]:
        names = list(node) if OmegaConf.is_dict(node) else range(len(node)) if OmegaConf.is_list(node) else []
        for name in names:
            if OmegaConf.is_missing(node, name):
                continue
            full = f"{key}.{name}"
            if OmegaConf.is_interpolation(node, name):
                if full.count(".") == 1 or OmegaConf.is_config(node[name]):
                    yield full
            elif OmegaConf.is_config(node[name]):
                yield from below(node[name], full)

    if OmegaConf.is_interpolation(config, "hydra"):
        yield "hydra"
        return
    for group in ("callbacks", "job_logging", "hydra_logging", "launcher", "sweeper", "job"):
        if OmegaConf.is_interpolation(config.hydra, group):
            yield f"hydra.{group}"
        elif group in ("launcher", "sweeper", "job"):
            yield from below(config.hydra[group], f"hydra.{group}")


def _loaded(path: Path) -> Any:
    """The content of a YAML file, as Hydra reads it.

    Raises:
        Failure: exit 2, if it cannot be read.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.load(path)
    except (OSError, ValueError, yaml.YAMLError, RecursionError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise Failure(Exit.CONFIG, f"{path} cannot be read: {one_line(reason, 160)}") from error


def _package(place: str) -> str:
    return f"hydra.searchpath: {place} imports a package, which runs its code; name its directory with file://"
