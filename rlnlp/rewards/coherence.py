"""Reward for text that the reference model finds likely."""

import math
from collections.abc import Callable

from torch import Tensor

from rlnlp.types import Rollout


def coherence(reference: Callable[[Rollout], Tensor], vocabulary: int) -> Callable[[Rollout], Tensor]:
    """1 - (mean nats per token under the reference) / log(vocabulary), cut off at 0; rollout -> (B,).

    A response that the reference is certain of has 1, one as likely as tokens drawn blindly has 0.
    """

    def term(rollout: Rollout) -> Tensor:
        nats = -reference(rollout).sum(1) / rollout.mask.sum(1)
        return (1 - nats / math.log(vocabulary)).clamp(min=0)

    return term
