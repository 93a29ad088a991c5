"""Token lists of any lengths as a batch."""

from collections.abc import Sequence

import torch

from rlnlp.types import Prompts


def left_padded(ids: Sequence[list[int]], rows: Sequence[int], pad: int, device: torch.device) -> Prompts:
    """``ids`` as prompts that end side by side; ``rows`` says where they come from."""
    width = max(map(len, ids))
    tokens = torch.tensor([[pad] * (width - len(i)) + i for i in ids], device=device)
    mask = torch.tensor([[False] * (width - len(i)) + [True] * len(i) for i in ids], device=device)
    return Prompts(tokens, mask, torch.tensor(list(rows), device=device))
