"""Checkpoints: named parts in safetensors and JSON files, staged, hashed and renamed.

A directory ``step-00000100`` exists only when all of it is on the disk. ``manifest.json`` holds size and sha256 of
every file, because neither torch nor safetensors notices a flipped bit. The newest valid one is loaded.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from rlnlp.errors import Exit, Failure
from rlnlp.run.checksums import MANIFEST, NAME, faults, file_sha256, manifest_text, name_of
from rlnlp.run.disk import apply_umask_and_fsync, check_free_space, replace_directory, storage_failure, sync, write
from rlnlp.run.parts import Parts, json_of, plain_files, restore_part, tensor_files

STAGED = ".tmp-"
LEFTOVER = re.compile(r"\.tmp-(\d+-\d+|(old|del)-step-\d{8,})-[0-9a-f]{8}")


def save(folder: Path, step: int, parts: Parts, state: Mapping[str, Any]) -> Path:
    """Write ``parts`` and ``state`` (JSON) as ``folder/step-XXXXXXXX``.

    Raises:
        Failure: exit 5, if the disk fails; the checkpoints that exist are untouched.
    """
    target, unique = folder / name_of(step), f"{step}-{os.getpid()}-{secrets.token_hex(4)}"
    staged, aside = folder / f"{STAGED}{unique}", folder / f"{STAGED}old-{target.name}-{secrets.token_hex(4)}"
    try:
        tensors, files = tensor_files(parts), plain_files(parts)
        plain = {name: json_of(part) for name, part in parts.items() if not isinstance(part, nn.Module)}
        files["state.json"] = json.dumps({"step": step, **state, "parts": plain}, allow_nan=False).encode()
        sizes = {name: sum(tensor.nbytes for tensor in each.values()) for name, each in tensors.items()}
        check_free_space(folder, sum(sizes.values()) + sum(map(len, files.values())))
        staged.mkdir()
        for path in {(staged / name).parent for name in [*sizes, *files]} - {staged}:
            path.mkdir()
        written = _write_tensors(staged, tensors, sizes)
        for name, data in files.items():
            write(staged / name, data)
            written[name] = len(data), hashlib.sha256(data).hexdigest()
        write(staged / MANIFEST, manifest_text(step, written).encode())
        for path in sorted({(staged / name).parent for name in written}, reverse=True):  # what is below first
            sync(path)
        replace_directory(staged, target, aside)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise storage_failure(f"saving step {step}", folder, error) from error
    return target


def _write_tensors(
    staged: Path, tensors: Mapping[str, Mapping[str, Tensor]], sizes: Mapping[str, int]
) -> dict[str, tuple[int, str]]:
    """Write each file of ``tensors``, ``sizes`` bytes large; return size and sha256 of each."""
    digests: dict[str, Future[str]] = {}
    with ThreadPoolExecutor(2) as hashing:  # while the disk writes
        for name in sorted(sizes, key=sizes.__getitem__, reverse=True):  # the last one to hash is small
            save_file(dict(tensors[name]), staged / name, {"format": "pt"})  # without it transformers does not load
            digests[name] = hashing.submit(file_sha256, staged / name)
            apply_umask_and_fsync(staged / name)
    return {name: ((staged / name).stat().st_size, found.result()) for name, found in digests.items()}


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in ``folder``, oldest first; other names are ignored."""
    return sorted(path for path in folder.glob("step-*") if NAME.fullmatch(path.name))


def step_of(path: Path) -> int:
    """The step of a checkpoint, from its name."""
    return int(path.name.partition("-")[2])


def retain(folder: Path, keep: int, best: int | None, verified: Collection[str]) -> set[str]:
    """Remove the valid checkpoints except the ``keep`` newest and that of step ``best``; return the names of the rest.

    Those in ``verified`` are not read again. A damaged one is neither counted nor removed: it may be a folder of
    someone else.

    Raises:
        Failure: exit 5, if the disk fails.
    """
    valid = [p for p in checkpoints(folder) if p.name in verified or next(faults(p), None) is None]
    kept = {p.name for p in (valid[-keep:] if keep else [])} | ({name_of(best)} if best is not None else set())
    try:
        for old in valid:
            if old.name not in kept:
                _remove(old)
    except OSError as error:
        raise storage_failure("removing old checkpoints", folder, error) from error
    return kept & {p.name for p in valid}


def remove_later(folder: Path, step: int) -> None:
    """Remove what was saved after ``step`` in a folder that may not exist: the steps to come will save it again."""
    for path in checkpoints(folder):
        if step_of(path) > step and next(faults(path), None) is None:
            _remove(path)


def _remove(directory: Path) -> None:
    """Remove a checkpoint in one moment: half of one never has its name."""
    deleted = directory.with_name(f"{STAGED}del-{directory.name}-{secrets.token_hex(4)}")
    directory.rename(deleted)
    shutil.rmtree(deleted, ignore_errors=True)


def clear_leftovers(folder: Path) -> None:
    """Remove what interrupted saves left behind, by the names that saves use; for the run's owner only."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if LEFTOVER.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def load(folder: Path, parts: Parts, log_message: Callable[[str], None]) -> dict[str, Any]:
    """Load the newest valid checkpoint of ``folder`` into ``parts``; return its state.

    Damaged ones that are newer are logged. Settings (an optimizer's learning rate, its decay) stay as the parts have
    them: only what training has changed is restored.

    Raises:
        Failure: exit 6, with the fault of each checkpoint, if none is valid.
    """
    found = checkpoints(folder)[::-1]
    damaged: list[str] = []
    for directory in found:
        fault = next(faults(directory), None)
        if fault is None:
            for message in damaged:
                log_message(f"damaged checkpoint skipped: {message}")
            return _read(directory, parts)
        damaged.append(f"{directory.name}: {fault}")
    raise Failure(Exit.RUN, f"no valid checkpoint in {folder} ({len(found)} found)\n" + "; ".join(damaged))


def load_part(directory: Path, name: str, part: nn.Module) -> None:
    """Load the weights of the part ``name`` of one checkpoint, whose files were verified before.

    Raises:
        Failure: exit 6, if they are of another model.
    """
    restore_part(directory, name, part, None)


def _read(directory: Path, parts: Parts) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((directory / "state.json").read_text())
    stored = [path for path in directory.iterdir() if path.is_dir() or path.suffix == ".safetensors"]
    names = {*state["parts"], *(path.name.removesuffix(".safetensors") for path in stored)}
    if names != set(parts):
        raise Failure(Exit.RUN, f"{directory} has other parts ({', '.join(sorted(names))}) than this algorithm")
    for name, part in parts.items():
        restore_part(directory, name, part, state["parts"].get(name))
    return state
