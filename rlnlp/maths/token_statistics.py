"""Log-probability and entropy of tokens from logits, with their gradients, in little memory."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def logprobs_and_entropy(logits: Tensor, tokens: Tensor, spent: bool = False) -> tuple[Tensor, Tensor]:
    """Log softmax(logits) at ``tokens``, and -sum_a p_a log p_a, nats. (..., V), (...) -> (...), (...).

    Both are differentiable, and need at most one more array of the size of ``logits``. With ``spent`` they need none:
    the backward pass overwrites the logits with their gradient, so it can run only once, and nothing else may read
    the logits afterwards.
    """
    flat = logits.reshape(-1, logits.shape[-1])
    logprobs, entropy = _TokenStatistics.apply(flat, tokens.reshape(-1), spent)  # type: ignore[no-untyped-call]
    return logprobs.view(tokens.shape), entropy.view(tokens.shape)


class _TokenStatistics(torch.autograd.Function):
    """Computed a few rows at a time, so that the rows stay in the cache between passes.

    With z = log sum_a exp l_a and p = exp(l - z): log p_k = l_k - z has the gradient e_k - p, and the entropy
    H = z - p.l has the gradient -p (l - z + H).
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, tokens: Tensor, spent: bool) -> tuple[Tensor, Tensor]:
        """(N, V), (N,) -> (N,), (N,)."""
        log_z = torch.empty_like(logits[:, 0])
        entropy = torch.empty_like(log_z)
        for rows in _row_slices(logits):
            part = logits[rows]
            top = part.amax(-1, keepdim=True)
            mass = (part - top).exp_()
            total = mass.sum(-1)
            log_z[rows] = top.squeeze(1) + total.log()
            entropy[rows] = log_z[rows] - mass.mul_(part).sum(-1) / total
        ctx.save_for_backward(logits, tokens, log_z, entropy)
        ctx.set_materialize_grads(False)
        ctx.spent = spent
        return logits.gather(1, tokens.unsqueeze(1)).squeeze(1) - log_z, entropy

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor, None, None]:
        """The gradient of the logits, (N, V)."""
        logits, tokens, log_z, entropy = ctx.saved_tensors
        by_logprob, by_entropy = (torch.zeros_like(log_z) if g is None else g for g in upstream)
        through_entropy = bool(by_entropy.any())
        gradient = logits if ctx.spent else torch.empty_like(logits)
        for rows in _row_slices(logits):
            centered = torch.sub(logits[rows], log_z[rows].unsqueeze(1), out=gradient[rows])
            factor = -by_logprob[rows].unsqueeze(1)
            if through_entropy:
                factor = factor - by_entropy[rows].unsqueeze(1) * (centered + entropy[rows].unsqueeze(1))
            centered.exp_().mul_(factor)
        gradient.scatter_add_(1, tokens.unsqueeze(1), by_logprob.unsqueeze(1))
        return gradient, None, None


def _row_slices(logits: Tensor) -> Iterator[slice]:
    """Slices of rows of about a megabyte."""
    size = max(1, 2**18 // logits.shape[1]) if logits.device.type == "cpu" else max(1, len(logits))
    for start in range(0, len(logits), size):
        yield slice(start, start + size)
