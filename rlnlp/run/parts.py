"""What a checkpoint is of: named parts, as tensors or JSON; and bringing them back."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rlnlp.errors import Exit, Failure
from rlnlp.processes.sharding import full, full_state, is_sharded, part_like

WEIGHTS = "model.safetensors"  # as transformers calls them


@runtime_checkable
class Stateful(Protocol):
    """A part of a checkpoint whose state is JSON."""

    def state_dict(self) -> dict[str, Any]:
        """The state, as JSON."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        ...


@runtime_checkable
class Pretrained(Protocol):
    """A module that is stored as a folder that transformers or peft loads: ``files``, and the weights of ``body``.

    These are in ``weights_file``.
    """

    body: nn.Module
    files: Callable[[], Mapping[str, bytes]]
    weights_file: str


Part = nn.Module | torch.optim.Optimizer | Stateful
Parts = Mapping[str, Part]


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The module's state; a tensor with several names (tied weights) only once.

    Of a module in parts the whole, in the first process; all must ask for it.
    """
    if is_sharded(module):
        return full_state(module)
    seen: set[tuple[int, tuple[int, ...]]] = set()
    tensors = {}
    for name, tensor in module.state_dict().items():
        identity = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() == 0 or identity not in seen:
            tensors[name] = tensor.detach().contiguous()
            seen.add(identity)
    return tensors


def stored_tensors(module: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint holds of a module."""
    return named_tensors(module.body if isinstance(module, Pretrained) else module)


def tensor_files(parts: Parts) -> dict[str, dict[str, Tensor]]:
    """The tensors of all parts that have any, by the name of their file."""
    found = {}
    for name, part in parts.items():
        if isinstance(part, Pretrained) and part.files():
            found[f"{name}/{part.weights_file}"] = named_tensors(part.body)
        elif isinstance(part, nn.Module):
            found[f"{name}.safetensors"] = named_tensors(part)
        elif isinstance(part, torch.optim.Optimizer):
            state = part.state_dict()["state"]
            tensors = {f"{i}.{k}": full(v).contiguous() for i, values in state.items() for k, v in values.items()}
            found[f"{name}.safetensors"] = tensors
    return found


def plain_files(parts: Parts) -> dict[str, bytes]:
    """What lies beside the weights of those parts that transformers loads, by the name of its file."""
    loaded = {name: part for name, part in parts.items() if isinstance(part, Pretrained)}
    return {f"{name}/{file}": data for name, part in loaded.items() for file, data in part.files().items()}


def weights_sha256(parts: Parts) -> str:
    """The sha256 of the tensors of all modules."""
    digest = hashlib.sha256()
    for name, module in parts.items():
        for key, tensor in named_tensors(module).items() if isinstance(module, nn.Module) else ():
            if tensor.is_meta:
                continue  # the first process has it
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
        """Restore the JSON state; False, and nothing is changed, if a tensor has changed since, or may have."""
        if any(isinstance(part, nn.Module) and is_sharded(part) for part in self.parts.values()):
            return False
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
            held = (t for values in part.state.values() for t in values.values())
            yield from ((id(t), t._version) if isinstance(t, Tensor) else (0, t) for t in held)


def _is_plain(part: Part) -> bool:
    return not isinstance(part, nn.Module | torch.optim.Optimizer)


def json_of(part: torch.optim.Optimizer | Stateful) -> Any:
    """What is stored as JSON of a part: all of it, or which weights an optimizer has."""
    return {"params": _parameter_groups(part)} if isinstance(part, torch.optim.Optimizer) else part.state_dict()


def _parameter_groups(optimizer: torch.optim.Optimizer) -> list[list[int]]:
    return [group["params"] for group in optimizer.state_dict()["param_groups"]]


def restore_part(directory: Path, name: str, part: Part, plain: Any) -> None:
    """Restore the part ``name`` from the files in ``directory``, and ``plain``, what ``json_of`` gave.

    Raises:
        Failure: exit 6, if they are of another model or optimizer.
    """
    if isinstance(part, Pretrained) and (directory / name).is_dir():
        _restore_module(directory / name / part.weights_file, part.body)
    elif isinstance(part, nn.Module):
        _restore_module(directory / f"{name}.safetensors", part)
    elif isinstance(part, torch.optim.Optimizer):
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in load_file(directory / f"{name}.safetensors").items():
            index, _, field = key.partition(".")
            state.setdefault(int(index), {})[field] = tensor
        if _parameter_groups(part) != plain["params"]:
            raise Failure(Exit.RUN, f"{directory / name}.safetensors is the state of another optimizer")
        parameters = [p for group in part.param_groups for p in group["params"]]
        for i, values in state.items():
            state[i] = {field: part_like(tensor, parameters[i]) for field, tensor in values.items()}
        part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})
    else:
        part.load_state_dict(plain)


def _restore_module(path: Path, module: nn.Module) -> None:
    tensors, expected = load_file(path), named_tensors(module)
    if {k: t.shape for k, t in tensors.items()} != {k: t.shape for k, t in expected.items()}:
        raise Failure(Exit.RUN, f"{path} has other tensors than the model")
    state = module.state_dict() if is_sharded(module) else {}
    tensors = {name: part_like(tensor, state.get(name, tensor)) for name, tensor in tensors.items()}
    module.load_state_dict(tensors, strict=False)
