"""Sums and means over the True positions of a mask."""

import torch
from torch import Tensor


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``x`` over the True positions of ``mask``. Any shape, the same for both; returns ().

    Raises:
        ValueError: no position is True, or the shapes differ.
    """
    return reduce(x, mask, mask.sum())


def reduce(loss: Tensor, mask: Tensor, total: Tensor | int) -> Tensor:
    """Sum of ``loss`` over the True positions, divided by ``total``. (B, T), (B, T) -> ().

    ``total`` is the number of tokens, or of sequences, of the whole optimizer step. If each micro-batch divided by
    its own count instead, the result would depend on how the batch is split.

    Raises:
        ValueError: ``total`` is zero, or the shapes differ.
    """
    if loss.shape != mask.shape:
        raise ValueError(f"loss is {tuple(loss.shape)} but mask is {tuple(mask.shape)}")
    if int(total) <= 0:
        raise ValueError("the mask has no True position: there is nothing to average")
    return loss.masked_fill(~mask, 0).sum() / total


def masked_variance(x: Tensor, mask: Tensor, correction: int = 0) -> Tensor:
    """Variance of ``x`` over the True positions; returns (). ``correction`` 0: population, 1: unbiased.

    Raises:
        ValueError: no more than ``correction`` positions are True, or the shapes differ.
    """
    centered = (x - masked_mean(x, mask)).square()
    return reduce(centered, mask, int(mask.sum()) - correction)


def whitened(x: Tensor, mask: Tensor) -> Tensor:
    """``x`` with mean 0 and population variance 1 over the True positions, 0 elsewhere. Any shape.

    If all of them are equal, up to rounding, they become exactly 0. Nothing is added to the variance: an epsilon would
    shrink small values and turn equal ones into noise.

    Raises:
        ValueError: no position is True, or the shapes differ.
    """
    centered = (x - masked_mean(x, mask)).masked_fill(~mask, 0)
    if equal(x, mask):
        return torch.zeros_like(x)
    scaled = centered / centered.abs().amax()  # or the squares of tiny values would be 0, those of huge ones infinite
    return scaled / masked_mean(scaled.square(), mask).sqrt()


def scale_to_unit_std(x: Tensor, mask: Tensor) -> Tensor:
    """``x`` with population variance 1 over the True positions and its mean unchanged, 0 elsewhere. Any shape.

    Whitening with ``shift_mean=False`` of Ziegler et al. 2019 (their code): (x - mean) / std + mean. If all of
    them are equal, up to rounding, they are left unchanged.

    Raises:
        ValueError: no position is True, or the shapes differ.
    """
    if equal(x, mask):
        return x.masked_fill(~mask, 0)
    return (whitened(x, mask) + masked_mean(x, mask)).masked_fill(~mask, 0)


def equal(x: Tensor, mask: Tensor) -> bool:
    """True if ``x`` is the same at all True positions, up to rounding (1e-6 of the largest)."""
    values = x[mask]
    return bool(values.amax() - values.amin() <= 1e-6 * values.abs().amax())


def last_true(mask: Tensor) -> Tensor:
    """Index of the last True position of each row. (B, T) -> (B,) int64. The mask may have holes.

    Raises:
        ValueError: a row has no True position.
    """
    if not bool(mask.any(1).all()):
        raise ValueError(f"row {int((~mask.any(1)).nonzero()[0])} of the mask has no True position")
    positions = torch.arange(mask.shape[1], device=mask.device)
    return positions.expand_as(mask).masked_fill(~mask, -1).amax(1)
