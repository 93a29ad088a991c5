"""The manifest of a checkpoint: size and sha256 of each of its files, and what differs from it. Needs no torch."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

SCHEMA, NAME = 1, re.compile(r"step-\d{8,}")
MANIFEST = "manifest.json"


def name_of(step: int) -> str:
    """The directory name of a step's checkpoint."""
    return f"step-{step:08d}"


def faults(directory: Path, below: str = "") -> Iterator[str]:
    """What is wrong with the files of a checkpoint; nothing if they are as they were written.

    ``below``: only what is in this folder counts, wherever the checkpoint has been moved to.
    """
    try:
        text = (directory / MANIFEST).read_text()
        manifest = json.loads(text)
        files = {str(name): (int(entry["size"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
        step = int(manifest["step"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        yield f"{MANIFEST} cannot be read ({type(error).__name__})"
        return
    if text != manifest_text(step, files) or (not below and directory.name != name_of(step)):
        yield f"{MANIFEST} is not as it was written here"
    if "state.json" not in files:
        yield f"{MANIFEST} lists no state.json"
    folders = {str(PurePosixPath(name).parent) for name in files}
    there = {path.relative_to(directory).as_posix() for path in directory.rglob("*")}
    for name in sorted(there - {*files, *folders, MANIFEST}):
        if name.startswith(below):
            yield f"{name} is not in {MANIFEST}"
    for name, (size, digest) in files.items():
        if not name.startswith(below):
            continue
        path = directory / name
        if not _within(name) or path.is_symlink() or path.parent.is_symlink() or not path.is_file():
            yield f"{name} is missing"
        elif path.stat().st_size != size:
            yield f"{name} has {path.stat().st_size} bytes, not {size}"
        elif file_sha256(path) != digest:
            yield f"{name} is not as it was written (sha256)"


def _within(name: str) -> bool:
    """True for a file of the checkpoint's own directory, or of a folder in it."""
    parts = PurePosixPath(name).parts
    return len(parts) in (1, 2) and ".." not in parts and str(PurePosixPath(*parts)) == name and parts[0] != "/"


def manifest_text(step: int, files: Mapping[str, tuple[int, str]]) -> str:
    """The content of the manifest; ``files`` has size and sha256 by name."""
    entries = {name: {"size": size, "sha256": digest} for name, (size, digest) in files.items()}
    return json.dumps({"schema": SCHEMA, "step": step, "files": entries})


def file_sha256(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
