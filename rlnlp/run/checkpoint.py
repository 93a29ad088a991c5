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
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rlnlp.errors import Exit, Failure
from rlnlp.run.disk import apply_umask_and_fsync, check_free_space, replace_directory, storage_failure, sync, write

STAGED, SCHEMA, NAME = ".tmp-", 1, re.compile(r"step-\d{8,}")
LEFTOVER = re.compile(r"\.tmp-(\d+-\d+|(old|del)-step-\d{8,})-[0-9a-f]{8}")


@runtime_checkable
class Stateful(Protocol):
    """A part of a checkpoint whose state is JSON."""

    def state_dict(self) -> dict[str, Any]:
        """The state, as JSON."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        ...


Part = nn.Module | torch.optim.Optimizer | Stateful
Parts = Mapping[str, Part]


def save(folder: Path, step: int, parts: Parts, state: Mapping[str, Any]) -> Path:
    """Write ``parts`` and ``state`` (JSON) as ``folder/step-XXXXXXXX``.

    Raises:
        Failure: exit 5, if the disk fails; the checkpoints that exist are untouched.
    """
    target, unique = folder / name_of(step), f"{step}-{os.getpid()}-{secrets.token_hex(4)}"
    staged, aside = folder / f"{STAGED}{unique}", folder / f"{STAGED}old-{target.name}-{secrets.token_hex(4)}"
    try:
        tensors = {name: found for name, part in parts.items() if (found := tensors_of(part)) is not None}
        sizes = {name: sum(tensor.nbytes for tensor in each.values()) for name, each in tensors.items()}
        check_free_space(folder, sum(sizes.values()))
        staged.mkdir()
        with ThreadPoolExecutor(2) as hashing:  # while the disk writes
            digests = {}
            for name in sorted(sizes, key=sizes.__getitem__, reverse=True):  # the last one to hash is small
                path = staged / f"{name}.safetensors"
                save_file(tensors[name], path)
                digests[path.name] = hashing.submit(_digest, path)
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
    """The checkpoints in ``folder``, oldest first; other names are ignored."""
    return sorted(path for path in folder.glob("step-*") if NAME.fullmatch(path.name))


def name_of(step: int) -> str:
    """The directory name of a step's checkpoint."""
    return f"step-{step:08d}"


def step_of(path: Path) -> int:
    """The step of a checkpoint, from its name."""
    return int(path.name.partition("-")[2])


def retain(folder: Path, keep: int, best: int, verified: Collection[str]) -> set[str]:
    """Remove the valid checkpoints except the ``keep`` newest and that of step ``best``; return the names of the rest.

    Those in ``verified`` are not read again. A damaged one is neither counted nor removed: it may be a folder of
    someone else.

    Raises:
        Failure: exit 5, if the disk fails.
    """
    valid = [p for p in checkpoints(folder) if p.name in verified or next(faults(p), None) is None]
    kept = {p.name for p in valid[-keep:]} | {name_of(best)}
    try:
        for old in valid:
            if old.name not in kept:
                deleted = old.with_name(f"{STAGED}del-{old.name}-{secrets.token_hex(4)}")
                old.rename(deleted)
                shutil.rmtree(deleted, ignore_errors=True)
    except OSError as error:
        raise storage_failure("removing old checkpoints", folder, error) from error
    return kept & {p.name for p in valid}


def clear_leftovers(folder: Path) -> None:
    """Remove what interrupted saves left behind, by the names that saves use; for the run's owner only."""
    for path in folder.iterdir():
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


def faults(directory: Path) -> Iterator[str]:
    """What is wrong with the files of a checkpoint; nothing if they are as they were written."""
    try:
        text = (directory / "manifest.json").read_text()
        manifest = json.loads(text)
        files = {str(name): (int(entry["size"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
        step = int(manifest["step"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        yield f"manifest.json cannot be read ({type(error).__name__})"
        return
    if text != _manifest(step, files) or directory.name != name_of(step):
        yield "manifest.json is not as it was written here"
    if "state.json" not in files:
        yield "manifest.json lists no state.json"
    for name in sorted({path.name for path in directory.iterdir()} - {*files, "manifest.json"}):
        yield f"{name} is not in manifest.json"
    for name, (size, digest) in files.items():
        path = directory / name
        if Path(name).name != name or path.is_symlink() or not path.is_file():
            yield f"{name} is missing"
        elif path.stat().st_size != size:
            yield f"{name} has {path.stat().st_size} bytes, not {size}"
        elif _digest(path) != digest:
            yield f"{name} is not as it was written (sha256)"


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The module's state; a tensor with several names (tied weights) only once."""
    seen: set[tuple[int, tuple[int, ...]]] = set()
    tensors = {}
    for name, tensor in module.state_dict().items():
        identity = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() == 0 or identity not in seen:
            tensors[name] = tensor.detach().contiguous()
            seen.add(identity)
    return tensors


def tensors_of(part: Part) -> dict[str, Tensor] | None:
    """The tensors of a part, by name; None for a part whose state is JSON."""
    if isinstance(part, nn.Module):
        return named_tensors(part)
    if isinstance(part, torch.optim.Optimizer):
        state = part.state_dict()["state"]
        return {f"{i}.{k}": v.contiguous() for i, values in state.items() for k, v in values.items()}
    return None


def weights_sha256(parts: Parts) -> str:
    """The sha256 of the tensors of all modules."""
    digest = hashlib.sha256()
    for name, module in parts.items():
        for key, tensor in named_tensors(module).items() if isinstance(module, nn.Module) else ():
            digest.update(f"{name} {key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).cpu().numpy().data)
    return digest.hexdigest()


class StepSnapshot:
    """The parts at the end of a step: their JSON state, and the versions of their tensors instead of copies."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._plain = json.dumps({n: p.state_dict() for n, p in parts.items() if _is_plain(p)}, allow_nan=False)
        self._versions = list(_versions(parts))

    def rollback(self) -> bool:
        """Restore the JSON state; False, and nothing is changed, if a tensor has changed since."""
        if self._versions != list(_versions(self.parts)):
            return False
        for name, state in json.loads(self._plain).items():
            self.parts[name].load_state_dict(state)
        return True


def _versions(parts: Parts) -> Iterator[tuple[int, int]]:
    """Identity and version of each tensor; torch counts every in-place change."""
    for part in parts.values():
        if isinstance(part, nn.Module):
            yield from ((id(t), t._version) for t in (*part.parameters(), *part.buffers()))
        elif isinstance(part, torch.optim.Optimizer):
            yield from ((id(t), t._version) for values in part.state.values() for t in values.values())


def _is_plain(part: Part) -> bool:
    return not isinstance(part, nn.Module | torch.optim.Optimizer)


def _plain(part: torch.optim.Optimizer | Stateful) -> Any:
    return {"params": _parameter_groups(part)} if isinstance(part, torch.optim.Optimizer) else part.state_dict()


def _parameter_groups(optimizer: torch.optim.Optimizer) -> list[list[int]]:
    return [group["params"] for group in optimizer.state_dict()["param_groups"]]


def _read(directory: Path, parts: Parts) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((directory / "state.json").read_text())
    names = {*state["parts"], *(file.stem for file in directory.glob("*.safetensors"))}
    if names != set(parts):
        raise Failure(Exit.RUN, f"{directory} has other parts ({', '.join(sorted(names))}) than this algorithm")
    for name, part in parts.items():
        _read_part(directory, name, part, state["parts"].get(name))
    return state


def _read_part(directory: Path, name: str, part: Part, plain: Any) -> None:
    if isinstance(part, nn.Module):
        tensors, expected = load_file(directory / f"{name}.safetensors"), named_tensors(part)
        if {k: t.shape for k, t in tensors.items()} != {k: t.shape for k, t in expected.items()}:
            raise Failure(Exit.RUN, f"{directory / name}.safetensors has other tensors than the model")
        part.load_state_dict(tensors, strict=False)
    elif isinstance(part, torch.optim.Optimizer):
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in load_file(directory / f"{name}.safetensors").items():
            index, _, field = key.partition(".")
            state.setdefault(int(index), {})[field] = tensor
        if _parameter_groups(part) != plain["params"]:
            raise Failure(Exit.RUN, f"{directory / name}.safetensors is the state of another optimizer")
        part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})
    else:
        part.load_state_dict(plain)


def _manifest(step: int, files: Mapping[str, tuple[int, str]]) -> str:
    entries = {name: {"size": size, "sha256": digest} for name, (size, digest) in files.items()}
    return json.dumps({"schema": SCHEMA, "step": step, "files": entries})


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
