"""One optimizer step's gradient: minibatches, micro-batches, and the figures of a loss."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from rlnlp.algos.optim import backward
from rlnlp.batching import micro_batches
from rlnlp.maths.masked import reduce
from rlnlp.processes.rows import summed
from rlnlp.types import Experience, take

Batch = TypeVar("Batch")
Learned = TypeVar("Learned", bound=Experience)


@dataclass(frozen=True)
class TokenLosses:
    """A loss per token, the mask of the tokens that count, and figures to be averaged over them, all (B, T)."""

    loss: Tensor
    mask: Tensor
    figures: dict[str, Tensor]


def minibatches(
    experience: Learned, size: int, epochs: int, rng: Callable[[int], np.random.Generator]
) -> Iterator[Learned]:
    """The rollout in a new order each epoch, ``size`` responses at a time; as it is if that is all of it.

    ``rng`` gives the generator of an epoch's order.
    """
    count = len(experience.rollout.mask)
    for epoch in range(epochs):
        if size == count:
            yield experience
            continue
        for rows in torch.from_numpy(rng(epoch).permutation(count)).split(size):
            yield take(experience, rows)


def accumulate_gradient(
    parts: Iterable[Batch], loss_fn: Callable[[Batch], TokenLosses], mask: Tensor, reduction: str
) -> tuple[float, dict[str, float]]:
    """Leave the gradient of the loss over all ``parts`` in the weights. Returns the loss and the mean of each figure.

    ``mask`` (B, T) is that of the whole batch, whose parts are micro-batches: those of this process, if there are
    several. Each divides by the count of the whole batch, so that the cut changes nothing but rounding. Gradients of
    several processes are added by ``descend``. ``reduction``: the loss is divided by the number of ``sequences`` or
    ``tokens``; figures are means over tokens.
    """
    tokens = int(mask.sum())
    total = len(mask) if reduction == "sequences" else tokens
    loss_sum, own_tokens, sums = 0.0, 0, dict[str, float]()
    for part in parts:
        losses = loss_fn(part)
        loss = reduce(losses.loss, losses.mask, total)
        backward(loss)
        loss_sum += loss.item()
        own_tokens += int(losses.mask.sum())
        for name, figure in losses.figures.items():
            sums[name] = sums.get(name, 0.0) + reduce(figure.detach().to(loss.dtype), losses.mask, 1).item()
    loss_sum, counted, *totals = summed([loss_sum, own_tokens, *sums.values()])
    assert counted == tokens, "each row is learned from in one process"
    return loss_sum, {name: total / tokens for name, total in zip(sums, totals, strict=True)}


def of_rollout(
    experience: Learned, micro_batch_size: int, together: bool = False, micro_batch_tokens: int | None = None
) -> Iterator[Learned]:
    """The micro-batches of ``experience``; ``together``: responses to one prompt are not torn apart."""
    return micro_batches(experience, experience.rollout, micro_batch_size, together, micro_batch_tokens)


def mean_figures(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure over the updates, and their number."""
    names = dict.fromkeys(name for row in rows for name in row)
    means = {name: sum(row[name] for row in rows) / len(rows) for name in names}
    return {**means, "updates": float(len(rows))}
