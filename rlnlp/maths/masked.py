"""Sums and means over the True places of a mask."""

import torch
from torch import Tensor


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``x`` over the True places of ``mask``. Both of one shape, any; () out.

    Raises:
        ValueError: no place is True, or the shapes differ.
    """
    return reduce(x, mask, mask.sum())


def reduce(loss: Tensor, mask: Tensor, total: Tensor | int) -> Tensor:
    """Sum of ``loss`` over the True places, divided by ``total``. (B, T), (B, T) -> ().

    ``total`` is the count of tokens, or of sequences, of the whole optimizer step. A micro-batch that divides by
    its own count instead would make the result depend on how the batch was cut.

    Raises:
        ValueError: ``total`` is zero, or the shapes differ.
    """
    if loss.shape != mask.shape:
        raise ValueError(f"loss is {tuple(loss.shape)} but mask is {tuple(mask.shape)}")
    if int(total) <= 0:
        raise ValueError("the mask has no True place: there is nothing to average")
    return loss.masked_fill(~mask, 0).sum() / total


def last_true(mask: Tensor) -> Tensor:
    """Index of the last True place of each row. (B, T) -> (B,) int64. The mask may have holes.

    Raises:
        ValueError: a row has no True place.
    """
    if not bool(mask.any(1).all()):
        raise ValueError(f"row {int((~mask.any(1)).nonzero()[0])} of the mask has no True place")
    places = torch.arange(mask.shape[1], device=mask.device)
    return places.expand_as(mask).masked_fill(~mask, -1).amax(1)
