"""What each process does of a batch, and how the parts become a whole again; in one process nothing changes.

All processes know the whole batch, and each does the costly work on its own rows: the same number of neighboring rows
in each, the last ones repeated where they do not come out even. Statistics, advantages and metrics are then computed of
the whole in every process, by the code of one process.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from rlnlp.processes.group import explained

Batch = TypeVar("Batch")
Item = TypeVar("Item")
Result = TypeVar("Result")
BUCKET = 2**25  # numbers of gradients that are summed at once
_alone = False


def process_count() -> int:
    """How many processes there are to share work."""
    return dist.get_world_size() if dist.is_initialized() and not _alone else 1


def is_first() -> bool:
    """True in the first process, which writes and prints."""
    return not dist.is_initialized() or dist.get_rank() == 0


def own(batch: Batch) -> Batch:
    """The rows that this process does of a tensor, or of all tensors of a (nested) dataclass."""
    if process_count() == 1:
        return batch
    part: Batch = _each(batch, lambda x: x[_own_rows(len(x)).to(x.device)])
    return part


def whole(part: Batch, rows: int) -> Batch:
    """The ``rows`` rows of which each process has its ``own``: a tensor, or every tensor of a (nested) dataclass."""
    if process_count() == 1:
        return part
    found: Batch = _each(part, lambda x: torch.cat(_gathered(x))[:rows])
    return found


def own_of(rows: Sequence[Item]) -> list[Item]:
    """The same of a list."""
    return [rows[i] for i in own(torch.arange(len(rows))).tolist()]


def joined_rows(part: Tensor) -> Tensor:
    """The rows of all processes one behind the other, of which each has a number of its own."""
    if process_count() == 1:
        return part
    most = widest(len(part))
    filled = torch.cat([part, part.new_zeros(most - len(part), *part.shape[1:])])
    there = torch.arange(most, device=part.device) < len(part)
    return torch.cat(_gathered(filled))[torch.cat(_gathered(there))]


def widest(size: int) -> int:
    """The largest of a number in each process."""
    if process_count() == 1:
        return size
    largest = torch.tensor([size], device=_device())
    _together(lambda: dist.all_reduce(largest, dist.ReduceOp.MAX))
    return int(largest)


def summed(values: Sequence[float]) -> list[float]:
    """The sum over the processes of each of some numbers."""
    if process_count() == 1:
        return list(values)
    sums = torch.tensor(list(values), dtype=torch.float64, device=_device())
    _together(lambda: dist.all_reduce(sums))
    found: list[float] = sums.tolist()
    return found


def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace the gradients by their sums over the processes; one that is there in any of them is there in all."""
    if process_count() == 1:
        return
    from torch.distributed.tensor import DTensor

    learning = [p for p in parameters if not isinstance(p, DTensor)]  # of these FSDP does it
    there = torch.tensor([p.grad is not None for p in learning], dtype=torch.uint8, device=_device())
    _together(lambda: dist.all_reduce(there, dist.ReduceOp.MAX))
    used = [p for p, flag in zip(learning, there.tolist(), strict=True) if flag]
    for p in used:
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    for bucket in _buckets([p.grad for p in used if p.grad is not None]):
        flat = torch.cat([g.reshape(-1) for g in bucket])
        _together(partial(dist.all_reduce, flat))
        for g, total in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
            g.copy_(total.view_as(g))


def of_first(function: Callable[[], Tensor]) -> Tensor:
    """The float32 matrix (N, M) that ``function`` returns in the first process, which alone calls it; on the CPU."""
    if process_count() == 1:
        return function()
    found = function().float() if is_first() else torch.empty(0, 0)
    shape = torch.tensor(found.shape, device=_device())
    _together(lambda: dist.broadcast(shape, 0))
    sent = found.to(_device()).contiguous() if is_first() else torch.empty(shape.tolist(), device=_device())
    _together(lambda: dist.broadcast(sent, 0))
    return sent.cpu()


def told(function: Callable[[], Result]) -> Result:
    """What ``function`` returns in the first process, which alone calls it: an object that pickles."""
    if process_count() == 1:
        return function()
    found: list[Any] = [function() if is_first() else None]
    _together(lambda: dist.broadcast_object_list(found, 0, device=_device()))
    answer: Result = found[0]
    return answer


@contextmanager
def alone() -> Iterator[None]:
    """A context in which this process does all of its work, as if there were no others."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def decided(here: bool) -> bool:
    """What the first process has decided."""
    if process_count() == 1:
        return here
    flag = torch.tensor([here], dtype=torch.uint8, device=_device())
    _together(lambda: dist.broadcast(flag, 0))
    return bool(flag)


def agreed(here: bool) -> bool:
    """True if the first of several processes says so; False in a process alone."""
    return process_count() > 1 and decided(here)


def barrier() -> None:
    """Wait until all processes are here."""
    if process_count() > 1:
        _together(lambda: dist.all_reduce(torch.zeros(1, device=_device())))


def _own_rows(rows: int) -> Tensor:
    each = -(-rows // process_count())
    return (torch.arange(each) + dist.get_rank() * each).clamp(max=rows - 1)


def _gathered(x: Tensor) -> list[Tensor]:
    """The tensors of the same shape that the processes have."""
    sent = (x.to(torch.uint8) if x.dtype == torch.bool else x.contiguous()).to(_device())
    parts = [torch.empty_like(sent) for _ in range(process_count())]
    _together(lambda: dist.all_gather(parts, sent))
    return [part.to(x) for part in parts]


def _buckets(gradients: list[Tensor]) -> Iterable[list[Tensor]]:
    """Gradients of one type, at most about ``BUCKET`` numbers at once."""
    bucket: list[Tensor] = []
    for g in gradients:
        if bucket and (bucket[0].dtype != g.dtype or sum(b.numel() for b in bucket) + g.numel() > BUCKET):
            yield bucket
            bucket = []
        bucket.append(g)
    if bucket:
        yield bucket


def _each(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if is_dataclass(batch) and not isinstance(batch, type):
        return type(batch)(**{f.name: _each(getattr(batch, f.name), change) for f in fields(batch)})
    return change(batch)


def _device() -> torch.device:
    """Where the group's tensors are."""
    cuda = dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")


def _together(call: Callable[[], Any]) -> None:
    """A collective, whose failure is told by what ended another process, where that is the reason."""
    try:
        call()
    except RuntimeError as error:
        if (reason := explained(error)) is error:
            raise
        raise reason from error
