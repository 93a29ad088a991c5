"""From what a term says of a response to what enters the sum: scale, shift, limits, and the veto of a floor."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """A term counts as clip(scale value + shift); a value below ``floor`` is a veto."""

    scale: float = 1.0
    shift: float = 0.0
    clip: tuple[float, float] | None = None
    floor: float | None = None

    def counted(self, value: Tensor) -> Tensor:
        """What enters the sum, before the weight; any shape."""
        moved = self.scale * value + self.shift
        return moved if self.clip is None else moved.clamp(*self.clip)

    def vetoes(self, value: Tensor) -> Tensor:
        """True where the value itself is below the floor; any shape."""
        return torch.zeros_like(value, dtype=torch.bool) if self.floor is None else value < self.floor


def vetoed_sum(parts: Sequence[Tensor], vetoes: Sequence[Tensor]) -> Tensor:
    """sum_k parts_k, where a veto of one term takes away what the other terms would add; all (B,).

    own + min(0, others) = min(all, own): the terms that no other one vetoes, or the whole sum if that is less. A veto
    never raises the sum.
    """
    part, veto = torch.stack(list(parts)), torch.stack(list(vetoes))
    by_others = veto.sum(0) - veto.long()  # vetoes of each response by other terms than this one
    return torch.minimum(part.sum(0), part.masked_fill(by_others > 0, 0).sum(0))
