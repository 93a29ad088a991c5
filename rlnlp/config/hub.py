"""The names of data sets of the Hugging Face hub, and where their copies are on this machine; imports nothing heavy."""

import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple

PREFIX = "hub:"
NAME = re.compile(r"hub:(\w[\w.-]*/\w[\w.-]*)(?:/([^/\s]+))?")
HELDOUT = "data.heldout"  # the setting whose data sets are read from data.heldout_split


class HubName(NamedTuple):
    """``hub:owner/name`` or ``hub:owner/name/subset``."""

    repository: str
    subset: str | None


def is_hub(name: str) -> bool:
    """True if ``name`` means a data set of the hub, well written or not."""
    return name.startswith(PREFIX)


def hub_name(name: str) -> HubName | None:
    """The parts of a name; None if it has no such form."""
    found = NAME.fullmatch(name)
    return HubName(found[1], found[2]) if found else None


def cached_subsets(repository: str) -> list[str]:
    """The subsets of a data set that the library datasets has a copy of, in order."""
    return sorted({path.parts[-4] for path in _copies(repository)})


def hub_content(name: str) -> str:
    """What the copies of a data set are: their subsets, versions and revisions; the name itself without any."""
    found = hub_name(name)
    copies = [path.parts[-4:-1] for path in _copies(found.repository)] if found else []
    wanted = sorted("/".join(parts) for parts in copies if found and found.subset in (None, parts[0]))
    return hashlib.sha256("\n".join([name, *wanted]).encode()).hexdigest() if wanted else name


def _copies(repository: str) -> list[Path]:
    """The record of each copy: owner___name/subset/version/revision/dataset_info.json."""
    owner, _, name = repository.partition("/")
    folders = [path for path in _cache().glob(f"{owner}___*") if _plain(path.name) == _plain(f"{owner}___{name}")]
    return [path for folder in folders for path in folder.glob("*/*/*/dataset_info.json")]


def _plain(folder: str) -> str:
    """A name as its folder may be written: datasets puts ``_`` before the capitals of a name and makes them small."""
    return folder.replace("_", "").lower()


def _cache() -> Path:
    """Where datasets keeps its copies, by the environment variables that it goes by."""
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{home}/huggingface")
    return Path(os.path.expandvars(os.environ.get("HF_DATASETS_CACHE", f"{home}/datasets"))).expanduser()
