"""Weights of which each process has a part (FSDP2, ``fully_shard``): whole for sampling and for files, else in parts.

Zhao et al. 2023 (arXiv:2304.11277); gradients and the optimizer's moments are in the same parts.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rlnlp.processes.rows import is_first, process_count


def shard(module: nn.Module, layers: Iterable[nn.Module]) -> None:
    """Leave a part of the weights of ``module`` in each process; its ``layers`` are put together one at a time.

    The gradients of the processes are added.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    kind = next(module.parameters()).device.type
    mesh = init_device_mesh(kind, (process_count(),))
    for each in (*layers, module):
        fully_shard(each, mesh=mesh)
    for each in _units(module):
        each.set_gradient_divide_factor(1.0)
        each.set_force_sum_reduction_for_comms(True)  # gloo cannot scale while it sums


def is_sharded(module: nn.Module) -> bool:
    """True if each process has a part of its weights."""
    return process_count() > 1 and any(_is_part(p) for p in module.parameters())


@contextmanager
def whole_weights(module: nn.Module) -> Iterator[None]:
    """A block in which every process has all weights: passes in it are nobody else's affair."""
    units = _units(module) if is_sharded(module) else []
    for each in units:
        each.set_reshard_after_forward(False, recurse=False)
        each.unshard()
    try:
        yield
    finally:
        for each in units:
            each.reshard()
            each.set_reshard_after_forward(True, recurse=False)


def full(tensor: Tensor) -> Tensor:
    """The whole of a tensor, on the CPU in the first process and without data in the others; else as it is."""
    if not _is_part(tensor):
        return tensor
    found: Tensor = tensor.detach().full_tensor()  # type: ignore[attr-defined]
    return found.cpu() if is_first() else found.to("meta")


def full_state(module: nn.Module) -> dict[str, Tensor]:
    """The whole state of a module; a tensor with several names once, by its first."""
    seen: set[int] = set()
    found = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = full(tensor).detach().contiguous()
    return found


def part_like(tensor: Tensor, like: Tensor) -> Tensor:
    """The part of ``tensor`` that is this process's, if that is all there is of ``like``; else ``tensor`` itself."""
    if not _is_part(like) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    where: Any = like
    made: Tensor = distribute_tensor(
        tensor.to(like.device), where.device_mesh, where.placements, src_data_rank=None
    )  # every process has read it
    return made


def local(tensor: Tensor) -> Tensor:
    """What this process has of a tensor."""
    part: Any = tensor
    found: Tensor = part.to_local() if _is_part(tensor) else tensor
    return found


def total_norm(gradients: Sequence[Tensor]) -> Tensor:
    """The norm of all gradients, (); of those that are in parts, of the whole."""
    parts = [g for g in gradients if _is_part(g)]
    norm = torch.nn.utils.get_total_norm
    if not parts:
        return norm(gradients)
    of_parts: Any = norm(parts)
    whole: Tensor = of_parts.full_tensor()
    others = [g for g in gradients if not _is_part(g)]
    return torch.linalg.vector_norm(torch.stack([whole, norm(others)])) if others else whole


def clip(parameters: Sequence[nn.Parameter], most: float, norm: Tensor) -> None:
    """Scale all gradients, whose ``norm`` is given, to the norm ``most``."""
    for alike in ([p for p in parameters if not _is_part(p)], [p for p in parameters if _is_part(p)]):
        if alike:
            torch.nn.utils.clip_grads_with_norm_(alike, most, norm)


def _is_part(tensor: Tensor) -> bool:
    if process_count() == 1:
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def _units(module: nn.Module) -> list[Any]:
    from torch.distributed.fsdp import FSDPModule

    return [each for each in module.modules() if isinstance(each, FSDPModule)]
