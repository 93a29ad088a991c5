"""What a CUDA graph does with kernels, done on a CPU with torch's operations: those of one pass, again and again."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
# What no graph can hold: numbers and sizes that are read from tensors, and tensors made of numbers of Python's.
REFUSED = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.lift_fresh}
BY_MASK = {aten.index, aten.index_put, aten.index_put_}  # as many as a mask has


class Recorder(TorchDispatchMode):
    """Keeps every operation with what it was given and what it gave."""

    def __init__(self):
        super().__init__()
        self.done = []

    def __torch_dispatch__(self, operation, types, given=(), named=None):
        kind = operation.overloadpacket
        masks = [x for x in tree_leaves(given[1]) if x is not None and x.dtype == torch.bool] if kind in BY_MASK else []
        assert kind not in REFUSED | ({kind} if masks else set()), f"{operation} in a recorded step"
        result = operation(*given, **(named or {}))
        self.done.append((operation, given, named or {}, result))
        return result


def replayed(function):
    """``function`` as it is now: what is called does its operations, on the same tensors."""
    with Recorder() as recorder:
        result = function()

    def play():
        new = {}  # by the tensor of the recording that stands for it; those from outside stand for themselves

        def now(x):
            return new.get(id(x), x)

        for operation, given, named, then in recorder.done:
            again = operation(*tree_map(now, given), **tree_map(now, named))
            new |= {id(x): y for x, y in zip(tree_leaves(then), tree_leaves(again), strict=True)}
        return new[id(result)]

    return play
