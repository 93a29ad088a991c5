"""Log-probability and entropy of tokens from logits, with their gradients, in little memory."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

LOWEST = -1e30  # in place of minus infinity: its product with a probability of 0 is 0 and not NaN


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

    With m = max_a l_a, c = l - m, z = log sum_a exp c_a and p = exp(c - z): log p_k = c_k - z has the gradient e_k - p,
    and the entropy H = z - p.c has the gradient -p (c - z + H). The logits enter by their distance from the largest
    one, or an offset common to all of them would cost digits.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, tokens: Tensor, spent: bool) -> tuple[Tensor, Tensor]:
        """(N, V), (N,) -> (N,), (N,)."""
        ctx.impossible = False  # True if a token has a logit of minus infinity
        top, log_z, entropy = logits.new_empty(3, len(logits))
        for rows in _row_slices(logits):
            top[rows] = logits[rows].amax(-1)
            centered = logits[rows] - top[rows].unsqueeze(1)
            mass = centered.exp()
            total = mass.sum(-1)
            log_z[rows] = total.log()
            entropy[rows] = log_z[rows] - centered.mul_(mass).sum(-1) / total
            if bool(entropy[rows].isnan().any()):  # 0 times minus infinity
                centered = (logits[rows] - top[rows].unsqueeze(1)).clamp_(min=LOWEST)
                entropy[rows] = log_z[rows] - mass.mul_(centered).sum(-1) / total
                ctx.impossible = True
        ctx.save_for_backward(logits, tokens, top, log_z, entropy)
        ctx.set_materialize_grads(False)
        ctx.spent = spent
        return logits.gather(1, tokens.unsqueeze(1)).squeeze(1) - top - log_z, entropy

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor, None, None]:
        """The gradient of the logits, (N, V)."""
        logits, tokens, top, log_z, entropy = ctx.saved_tensors
        by_logprob, by_entropy = (torch.zeros_like(log_z) if g is None else g for g in upstream)
        through_entropy = bool(by_entropy.any())
        gradient = logits if ctx.spent else torch.empty_like(logits)
        for rows in _row_slices(logits):
            logprobs = torch.sub(logits[rows], top[rows].unsqueeze(1), out=gradient[rows])
            logprobs.sub_(log_z[rows].unsqueeze(1))
            factor = -by_logprob[rows].unsqueeze(1)
            if through_entropy:
                finite = logprobs.clamp(min=LOWEST) if ctx.impossible else logprobs
                factor = factor - by_entropy[rows].unsqueeze(1) * (finite + entropy[rows].unsqueeze(1))
            logprobs.exp_().mul_(factor)
        gradient.scatter_add_(1, tokens.unsqueeze(1), by_logprob.unsqueeze(1))
        return gradient, None, None


def _row_slices(logits: Tensor) -> Iterator[slice]:
    """Slices of rows of about a megabyte."""
    size = max(1, 2**18 // logits.shape[1]) if logits.device.type == "cpu" else max(1, len(logits))
    for start in range(0, len(logits), size):
        yield slice(start, start + size)
