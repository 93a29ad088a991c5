"""Checks of shapes: nothing broadcasts by mistake."""

from torch import Tensor


def same_shape(**tensors: Tensor) -> None:
    """Let nothing broadcast by mistake.

    Raises:
        ValueError: the tensors do not all have one shape.
    """
    if len({t.shape for t in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in tensors.items())
        raise ValueError(f"shapes differ: {shapes}")


def batch_size(**tensors: Tensor) -> int:
    """The number of rows of a tensor that must be a matrix.

    Raises:
        ValueError: it has another number of dimensions than two.
    """
    ((name, tensor),) = tensors.items()
    if tensor.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, got shape {tuple(tensor.shape)}")
    return len(tensor)


def check_vectors(count: int, **tensors: Tensor) -> None:
    """Let every tensor hold one entry per row.

    Raises:
        ValueError: one has another shape than (count,).
    """
    for name, tensor in tensors.items():
        if tensor.shape != (count,):
            raise ValueError(f"{name} must have shape ({count},), got {tuple(tensor.shape)}")
