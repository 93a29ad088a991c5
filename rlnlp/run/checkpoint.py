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
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rlnlp.errors import Exit, Failure
from rlnlp.run.disk import apply_umask_and_fsync, check_room, replace_directory, storage_failure, sync, write

STAGED, SCHEMA, NAME = ".tmp-", 1, re.compile(r"step-\d{8,}")
LEFTOVER = re.compile(r"\.tmp-(\d+-\d+|(old|del)-step-\d{8,})-[0-9a-f]{8}")


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


def save(folder: Path, step: int, parts: Parts, state: Mapping[str, Any]) -> Path:
    """Write ``parts`` and ``state`` (JSON) as ``folder/step-XXXXXXXX``.

    Raises:
        Failure: exit 5, if the disk does not take it; checkpoints that were there are untouched.
    """
    target, mark = folder / name_of(step), f"{step}-{os.getpid()}-{secrets.token_hex(4)}"
    staged, aside = folder / f"{STAGED}{mark}", folder / f"{STAGED}old-{target.name}-{secrets.token_hex(4)}"
    try:
        tensors = {name: found for name, part in parts.items() if (found := tensors_of(part)) is not None}
        sizes = {name: sum(tensor.nbytes for tensor in each.values()) for name, each in tensors.items()}
        check_room(folder, sum(sizes.values()))
        staged.mkdir()
        with ThreadPoolExecutor(2) as aside_of_the_disk:  # files are hashed while the disk takes them
            digests = {}
            for name in sorted(sizes, key=sizes.__getitem__, reverse=True):  # little is left to hash at the end
                path = staged / f"{name}.safetensors"
                save_file(tensors[name], path)
                digests[path.name] = aside_of_the_disk.submit(_digest, path)
                apply_umask_and_fsync(path)
        plain = {name: _plain(part) for name, part in parts.items() if not isinstance(part, nn.Module)}
        text = json.dumps({"step": step, **state, "parts": plain}, allow_nan=False)
        write(staged / "state.json", text.encode())
        files = {name: ((staged / name).stat().st_size, found.result()) for name, found in digests.items()}
        files["state.json"] = (len(text.encode()), hashlib.sha256(text.encode()).hexdigest())
        write(staged / "manifest.json", _manifest(step, files).encode())
        sync(staged)
        replace_directory(staged, target, aside)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise storage_failure(f"saving step {step}", folder, error) from error
    return target


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of ``folder``, oldest first; what has another name is not ours."""
    return sorted(path for path in folder.glob("step-*") if NAME.fullmatch(path.name))


def name_of(step: int) -> str:
    """The name of a step's checkpoint."""
    return f"step-{step:08d}"


def step_of(path: Path) -> int:
    """The step of a checkpoint, by its name."""
    return int(path.name.partition("-")[2])


def retain(folder: Path, keep: int, best: int, trusted: Collection[str]) -> set[str]:
    """Remove all but the ``keep`` newest that verify, and that of step ``best``; return the names of those that stay.

    Those named in ``trusted`` are not read again. A damaged one is neither counted nor removed: it may be someone
    else's folder.

    Raises:
        Failure: exit 5, if the disk refuses.
    """
    sound = [p for p in checkpoints(folder) if p.name in trusted or next(faults(p), None) is None]
    stay = {p.name for p in sound[-keep:]} | {name_of(best)}
    try:
        for old in sound:
            if old.name not in stay:
                gone = old.with_name(f"{STAGED}del-{old.name}-{secrets.token_hex(4)}")
                old.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)
    except OSError as error:
        raise storage_failure("removing old checkpoints", folder, error) from error
    return stay & {p.name for p in sound}


def clear_leftovers(folder: Path) -> None:
    """Remove what saves that were cut off have left; only what bears our marks, and only by the run's owner."""
    for path in folder.iterdir():
        if LEFTOVER.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def load(folder: Path, parts: Parts, tell: Callable[[str], None]) -> dict[str, Any]:
    """Put the newest sound checkpoint of ``folder`` into ``parts``; return its state.

    Each damaged one that is passed over is told. What is a setting (an optimizer's rates, its decay) stays as the
    parts have it: only what training has made comes back.

    Raises:
        Failure: exit 6, naming the fault of each checkpoint, if none is sound.
    """
    found = checkpoints(folder)[::-1]
    found_faults: list[str] = []
    for directory in found:
        fault = next(faults(directory), None)
        if fault is None:
            for each in found_faults:
                tell(f"damaged and passed over: {each}")
            return _read(directory, parts)
        found_faults.append(f"{directory.name}: {fault}")
    raise Failure(Exit.RUN, f"no valid checkpoint in {folder} ({len(found)} found)\n" + "; ".join(found_faults))


def faults(directory: Path) -> Iterator[str]:
    """What is wrong with the files of a checkpoint; nothing if all is as it was written."""
    try:
        text = (directory / "manifest.json").read_text()
        manifest = json.loads(text)
        files = {str(name): (int(entry["size"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
        step = int(manifest["step"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        yield f"manifest.json cannot be read ({type(error).__name__})"
        return
    if text != _manifest(step, files) or directory.name != name_of(step):
        yield "manifest.json is not what was written here"
    if "state.json" not in files:
        yield "manifest.json names no state.json"
    for name in sorted({path.name for path in directory.iterdir()} - {*files, "manifest.json"}):
        yield f"{name} is not in manifest.json"
    for name, (size, digest) in files.items():
        path = directory / name
        if Path(name).name != name or path.is_symlink() or not path.is_file():
            yield f"{name} is missing"
        elif path.stat().st_size != size:
            yield f"{name} has {path.stat().st_size} bytes, not {size}"
        elif _digest(path) != digest:
            yield f"{name} is not what was written (sha256)"


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


def tensors_of(part: Part) -> dict[str, Tensor] | None:
    """The tensors of a part by name; None for a part whose state is JSON."""
    if isinstance(part, nn.Module):
        return named_tensors(part)
    if isinstance(part, torch.optim.Optimizer):
        state = part.state_dict()["state"]
        return {f"{i}.{k}": v.contiguous() for i, values in state.items() for k, v in values.items()}
    return None


def content(parts: Parts) -> str:
    """The sha256 of the modules' tensors: the same only for the same weights."""
    whole = hashlib.sha256()
    for name, module in parts.items():
        for key, tensor in named_tensors(module).items() if isinstance(module, nn.Module) else ():
            whole.update(f"{name} {key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            whole.update(tensor.reshape(-1).view(torch.uint8).cpu().numpy().data)
    return whole.hexdigest()


class StepSnapshot:
    """The parts at the end of a step, so far as that can be known without a copy of their tensors."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._plain = json.dumps({n: p.state_dict() for n, p in parts.items() if _is_plain(p)}, allow_nan=False)
        self._versions = list(_versions(parts))

    def rollback(self) -> bool:
        """Put the parts back to the boundary; False, and the parts as they are, if a tensor has changed since."""
        if self._versions != list(_versions(self.parts)):
            return False
        for name, state in json.loads(self._plain).items():
            self.parts[name].load_state_dict(state)
        return True


def _versions(parts: Parts) -> Iterator[tuple[int, int]]:
    """Identity and version of each tensor; torch counts every change in place."""
    for part in parts.values():
        if isinstance(part, nn.Module):
            yield from ((id(t), t._version) for t in (*part.parameters(), *part.buffers()))
        elif isinstance(part, torch.optim.Optimizer):
            yield from ((id(t), t._version) for values in part.state.values() for t in values.values())


def _is_plain(part: Part) -> bool:
    return not isinstance(part, nn.Module | torch.optim.Optimizer)


def _plain(part: torch.optim.Optimizer | Stateful) -> Any:
    return {"params": _members(part)} if isinstance(part, torch.optim.Optimizer) else part.state_dict()


def _members(optimizer: torch.optim.Optimizer) -> list[list[int]]:
    return [group["params"] for group in optimizer.state_dict()["param_groups"]]


def _read(directory: Path, parts: Parts) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((directory / "state.json").read_text())
    held = {*state["parts"], *(file.stem for file in directory.glob("*.safetensors"))}
    if held != set(parts):
        raise Failure(Exit.RUN, f"{directory} holds other parts ({', '.join(sorted(held))}) than this algorithm has")
    for name, part in parts.items():
        _read_part(directory, name, part, state["parts"].get(name))
    return state


def _read_part(directory: Path, name: str, part: Part, plain: Any) -> None:
    if isinstance(part, nn.Module):
        tensors, here = load_file(directory / f"{name}.safetensors"), named_tensors(part)
        if {k: t.shape for k, t in tensors.items()} != {k: t.shape for k, t in here.items()}:
            raise Failure(Exit.RUN, f"{directory / name}.safetensors holds other tensors than the model has")
        part.load_state_dict(tensors, strict=False)
    elif isinstance(part, torch.optim.Optimizer):
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in load_file(directory / f"{name}.safetensors").items():
            index, _, field = key.partition(".")
            state.setdefault(int(index), {})[field] = tensor
        if _members(part) != plain["params"]:
            raise Failure(Exit.RUN, f"{directory / name}.safetensors is of another optimizer than this algorithm has")
        part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})
    else:
        part.load_state_dict(plain)


def _manifest(step: int, files: Mapping[str, tuple[int, str]]) -> str:
    entries = {name: {"size": size, "sha256": digest} for name, (size, digest) in files.items()}
    return json.dumps({"schema": SCHEMA, "step": step, "files": entries})


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
