"""Checkpoints: named parts, staged, hashed, renamed into place. safetensors and JSON only.

A directory ``step-00000100`` exists only when all of it is on the disk. ``manifest.json`` holds size and sha256 of
every file, because neither torch nor safetensors notices a flipped bit. The newest one that verifies is loaded.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rlnlp.errors import Exit, Failure

STAGED, SCHEMA, NAME = ".tmp-", 1, re.compile(r"step-\d{8,}")


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
        _put(staged, target)
        sync(folder)
    except Exception as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise storage_failure(f"saving step {step}", folder, error) from error
    for old in checkpoints(folder)[:-keep]:
        _drop(old)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of ``folder``, oldest first; what has another name is not ours."""
    return sorted(path for path in folder.glob("step-*") if NAME.fullmatch(path.name))


def load(folder: Path, parts: Parts) -> dict[str, Any]:
    """Put the newest sound checkpoint of ``folder`` into ``parts``; return its state.

    Raises:
        Failure: exit 6, naming the fault of each checkpoint, if none is sound.
    """
    found = checkpoints(folder)[::-1]
    faults = []
    for place in found:
        fault = next(broken(place), None)
        if fault is None:
            state: dict[str, Any] = json.loads((place / "state.json").read_text())
            if set(state["parts"]) != set(parts):
                held = ", ".join(sorted(state["parts"]))
                raise Failure(Exit.RUN, f"{place} holds other parts ({held}) than this algorithm has")
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
    for name in sorted({path.name for path in place.iterdir()} - {*files, "manifest.json"}):
        yield f"{name} is not in manifest.json"
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


def publish(file: Path) -> None:
    """Give a file the rights that the umask leaves (safetensors makes files for the owner only), and sync it."""
    mask = os.umask(0)
    os.umask(mask)
    file.chmod(0o666 & ~mask)
    sync(file)


def _put(staged: Path, target: Path) -> None:
    """Rename ``staged`` to ``target``; what stood there goes only when the new one stands."""
    if not target.exists():
        staged.rename(target)
        return
    aside = target.with_name(f"{STAGED}old-{target.name}-{secrets.token_hex(4)}")
    target.rename(aside)
    try:
        staged.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _drop(place: Path) -> None:
    gone = place.with_name(f"{STAGED}del-{place.name}-{secrets.token_hex(4)}")
    place.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


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
        here = named_tensors(part)
        if {k: t.shape for k, t in tensors.items()} != {k: t.shape for k, t in here.items()}:
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
    for file in [*files, place / "manifest.json"]:
        publish(file)
    sync(place)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
