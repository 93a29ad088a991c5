"""From the value of a term to its part of the sum: scale, shift, clip, and the veto of a floor."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shaping:
    """A term contributes clip(scale * value + shift); a value below ``floor`` is a veto."""

    scale: float = 1.0
    shift: float = 0.0
    clip: tuple[float, float] | None = None
    floor: float | None = None

    def transform(self, value: Tensor) -> Tensor:
        """The contribution to the sum, before the weight; any shape."""
        shifted = self.scale * value + self.shift
        return shifted if self.clip is None else shifted.clamp(*self.clip)

    def vetoes(self, value: Tensor) -> Tensor:
        """True where the untransformed value is below the floor; any shape."""
        return torch.zeros_like(value, dtype=torch.bool) if self.floor is None else value < self.floor


def vetoed_sum(parts: Sequence[Tensor], vetoes: Sequence[Tensor]) -> Tensor:
    """sum_k parts_k, except that a veto by one term removes what the other terms would add; all (B,).

    kept + min(0, removed) = min(total, kept), where ``kept`` is the sum of the terms that no other term vetoes. A veto
    never raises the sum.
    """
    part, veto = torch.stack(list(parts)), torch.stack(list(vetoes))
    by_others = veto.sum(0) - veto.long()  # number of vetoes of each response by terms other than this one
    return torch.minimum(part.sum(0), part.masked_fill(by_others > 0, 0).sum(0))
