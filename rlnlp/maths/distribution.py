"""The distribution of the next token: drawing from it, log-probabilities and entropy."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BANNED = -1e30  # finite, so that probability times logit is 0 and not NaN, forwards and backwards


@dataclass(frozen=True)
class Distribution:
    """softmax(logits / temperature), optionally filtered.

    ``top_k`` 0 and ``top_p`` 1 filter nothing. Before position ``min_new_tokens`` the ``end`` tokens are not allowed.
    """

    temperature: float
    top_k: int
    top_p: float
    min_new_tokens: int
    end: tuple[int, ...]

    @property
    def filtered(self) -> bool:
        """True if some tokens may be excluded."""
        return self.top_k > 0 or self.top_p < 1 or self.min_new_tokens > 0

    def unfiltered(self) -> "Distribution":
        """The same temperature without any filter."""
        return Distribution(self.temperature, 0, 1.0, 0, self.end)


def draw_logits(logits: Tensor, position: Tensor, distribution: Distribution) -> Tensor:
    """Logits of the filtered distribution in float32 or wider; excluded tokens have ``BANNED``.

    ``logits`` (..., V) of the model; ``position`` (...) int64, how many tokens the policy chose before this one.
    Temperature first, then the minimum length, then top-k, then top-p (Holtzman et al. 2020, arXiv:1904.09751, eq. 2:
    the smallest set of the likeliest tokens whose mass is at least p; the token that crosses p is kept).
    """
    logits = _tempered(logits, distribution)
    if distribution.min_new_tokens > 0 and distribution.end:
        is_end = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
        is_end[list(distribution.end)] = True
        logits = logits.masked_fill((position < distribution.min_new_tokens).unsqueeze(-1) & is_end, BANNED)
    if 0 < distribution.top_k < logits.shape[-1]:
        best = logits.topk(distribution.top_k, dim=-1).indices
        logits = logits.masked_fill(torch.ones_like(logits, dtype=torch.bool).scatter(-1, best, False), BANNED)
    if distribution.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probability = ordered.softmax(-1)
        beyond = probability.cumsum(-1) - probability >= distribution.top_p
        logits = logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), BANNED)
    return logits


def _tempered(logits: Tensor, distribution: Distribution) -> Tensor:
    logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
    return logits if distribution.temperature == 1 else logits / distribution.temperature


def taken_logits(logits: Tensor, tokens: Tensor, position: Tensor, distribution: Distribution) -> Tensor:
    """``draw_logits``, except that the taken token is never excluded. (..., V), (...), (...) -> (..., V).

    A second forward pass gives logits that differ in the last bits. A token drawn at the border of a filter could then
    be outside it, with log-probability minus infinity.
    """
    if not distribution.filtered:
        return _tempered(logits, distribution)
    kept = draw_logits(logits, position, distribution)
    index = tokens.unsqueeze(-1)
    return kept.scatter(-1, index, _tempered(logits, distribution).gather(-1, index))


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


def inverse_cdf(logits: Tensor, uniforms: Tensor) -> Tensor:
    """The token at which the cumulative probability exceeds the uniform number. (B, V), (B,) in [0, 1) -> (B,) int64.

    Each row uses its own number, so its draw does not depend on the rest of the batch. A token of probability 0 is
    never returned: the first token whose cumulative sum is *above* the target has a probability above 0.
    """
    exact = torch.float32 if logits.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    cumulative = logits.softmax(-1).cumsum(-1, dtype=exact)
    total = cumulative[:, -1:]
    target = (uniforms.to(exact).unsqueeze(1) * total).minimum(total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, target, right=True).squeeze(1)
