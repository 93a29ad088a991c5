"""Checkpoints: named parts, staged, hashed, renamed into place. safetensors and JSON only.

A directory ``step-00000100`` exists only when all of it is on the disk. ``manifest.json`` holds size and sha256 of
every file, because neither torch nor safetensors notices a flipped bit. The newest one that verifies is loaded.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rlnlp.errors import Exit, Failure

STAGED, SCHEMA = ".tmp-", 1


@runtime_checkable
class Stateful(Protocol):
    """A part whose state is plain JSON."""

    def state_dict(self) -> dict[str, Any]:
        """The state, as JSON."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state back."""
        ...


Part = nn.Module | torch.optim.Optimizer | Stateful
Parts = Mapping[str, Part]


def save(folder: Path, step: int, parts: Parts, state: Mapping[str, Any], keep: int) -> Path:
    """Write ``parts`` and ``state`` (JSON) as ``folder/step-XXXXXXXX``; remove all but the ``keep`` newest.

    Raises:
        Failure: exit 5, if the disk does not take it; checkpoints that were there are untouched.
    """
    target, staged = folder / f"step-{step:08d}", folder / f"{STAGED}{step}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        staged.mkdir(parents=True)
        plain = {name: _write_part(staged, name, part) for name, part in parts.items()}
        (staged / "state.json").write_text(json.dumps({"step": step, **state, "parts": plain}, allow_nan=False))
        _seal(staged)
        if target.exists():
            shutil.rmtree(target)
        staged.rename(target)
        sync(folder)
    except Exception as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise storage_failure(f"saving step {step}", folder, error) from error
    for old in sorted(folder.glob("step-*"))[:-keep]:
        gone = folder / f"{STAGED}del-{old.name}-{secrets.token_hex(4)}"
        old.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    return target


def load(folder: Path, parts: Parts) -> dict[str, Any]:
    """Put the newest sound checkpoint of ``folder`` into ``parts``; return its state.

    Raises:
        Failure: exit 6, naming the fault of each checkpoint, if none is sound.
    """
    found = sorted(folder.glob("step-*"), reverse=True)
    faults = []
    for place in found:
        fault = next(broken(place), None)
        if fault is None:
            state: dict[str, Any] = json.loads((place / "state.json").read_text())
            for name, part in parts.items():
                _read_part(place, name, part, state["parts"][name])
            return state
        faults.append(f"{place.name}: {fault}")
    raise Failure(Exit.RUN, f"no valid checkpoint in {folder} ({len(found)} found)\n" + "; ".join(faults))


def broken(place: Path) -> Iterator[str]:
    """What is wrong with the files of a checkpoint; nothing if all is as it was written."""
    try:
        manifest = json.loads((place / "manifest.json").read_text())
        files = {str(name): (int(entry["size"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"manifest.json cannot be read ({type(error).__name__})"
        return
    if "state.json" not in files:
        yield "manifest.json names no state.json"
    for name, (size, digest) in files.items():
        path = place / name
        if Path(name).name != name or path.is_symlink() or not path.is_file():
            yield f"{name} is missing"
        elif path.stat().st_size != size:
            yield f"{name} has {path.stat().st_size} bytes, not {size}"
        elif _digest(path) != digest:
            yield f"{name} is not what was written (sha256)"


def sync(path: Path) -> None:
    """Wait until the file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage_failure(doing: str, place: Path, error: Exception) -> Failure:
    """Exit 5 with what was being done, where, and the room that is left."""
    try:
        room = f"{shutil.disk_usage(place).free / 2**20:.0f} MiB free"
    except OSError:
        room = "the folder cannot be read"
    return Failure(
        Exit.STORAGE, f"{doing} in {place} failed: {error} ({room})\nMake room or mend the disk, then run it again."
    )


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The module's state without second names of one tensor (tied weights)."""
    seen: set[tuple[int, tuple[int, ...]]] = set()
    tensors = {}
    for name, tensor in module.state_dict().items():
        identity = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() == 0 or identity not in seen:
            tensors[name] = tensor.detach().contiguous()
            seen.add(identity)
    return tensors


def _write_part(place: Path, name: str, part: Part) -> Any:
    if isinstance(part, nn.Module):
        save_file(named_tensors(part), place / f"{name}.safetensors")
        return {}
    if isinstance(part, torch.optim.Optimizer):
        state = part.state_dict()
        tensors = {f"{i}.{k}": v.contiguous() for i, values in state["state"].items() for k, v in values.items()}
        save_file(tensors, place / f"{name}.safetensors")
        return {"param_groups": state["param_groups"]}
    return part.state_dict()


def _read_part(place: Path, name: str, part: Part, plain: Any) -> None:
    if isinstance(part, nn.Module):
        tensors = load_file(place / f"{name}.safetensors")
        if set(tensors) != set(named_tensors(part)):
            raise Failure(Exit.RUN, f"{place / name}.safetensors holds other tensors than the model has")
        part.load_state_dict(tensors, strict=False)
    elif isinstance(part, torch.optim.Optimizer):
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in load_file(place / f"{name}.safetensors").items():
            index, _, field = key.partition(".")
            state.setdefault(int(index), {})[field] = tensor
        part.load_state_dict({"state": state, "param_groups": plain["param_groups"]})
    else:
        part.load_state_dict(plain)


def _seal(place: Path) -> None:
    files = sorted(place.iterdir())
    entries = {f.name: {"size": f.stat().st_size, "sha256": _digest(f)} for f in files}
    (place / "manifest.json").write_text(json.dumps({"schema": SCHEMA, "files": entries}))
    mask = os.umask(0)
    os.umask(mask)
    for file in [*files, place / "manifest.json"]:
        file.chmod(0o666 & ~mask)  # safetensors makes files that only the owner can read
        sync(file)
    sync(place)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
