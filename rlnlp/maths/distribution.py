"""The distribution that a token is drawn from, and what it says of a token: log-probability and entropy."""

from dataclasses import dataclass

import torch
from torch import Tensor

BANNED = -1e30  # finite, so that probability times logit is 0 and not NaN, forwards and backwards


@dataclass(frozen=True)
class Distribution:
    """softmax(logits / temperature), perhaps restricted to fewer tokens.

    ``top_k`` 0 and ``top_p`` 1 restrict nothing. Before place ``min_new_tokens`` the ``end`` tokens are not allowed.
    """

    temperature: float
    top_k: int
    top_p: float
    min_new_tokens: int
    end: tuple[int, ...]

    @property
    def filtered(self) -> bool:
        """True if some tokens may be ruled out."""
        return self.top_k > 0 or self.top_p < 1 or self.min_new_tokens > 0

    def unfiltered(self) -> "Distribution":
        """The same temperature without any restriction."""
        return Distribution(self.temperature, 0, 1.0, 0, self.end)


def draw_logits(logits: Tensor, place: Tensor, d: Distribution) -> Tensor:
    """Logits of the restricted distribution, float32, ruled-out tokens at ``BANNED``.

    ``logits`` (..., V) of the model; ``place`` (...) int64, how many tokens the policy chose before this one.
    Temperature first, then the least length, then top-k, then top-p (Holtzman et al. 2020, arXiv:1904.09751, eq. 2:
    the smallest set of the likeliest tokens whose mass is at least p; the token that crosses p is kept).
    """
    logits = logits.float() / d.temperature
    if d.min_new_tokens > 0 and d.end:
        is_end = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
        is_end[list(d.end)] = True
        logits = logits.masked_fill((place < d.min_new_tokens).unsqueeze(-1) & is_end, BANNED)
    if 0 < d.top_k < logits.shape[-1]:
        best = logits.topk(d.top_k, dim=-1).indices
        logits = logits.masked_fill(torch.ones_like(logits, dtype=torch.bool).scatter(-1, best, False), BANNED)
    if d.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probability = ordered.softmax(-1)
        beyond = probability.cumsum(-1) - probability >= d.top_p
        logits = logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), BANNED)
    return logits


def taken_logits(logits: Tensor, tokens: Tensor, place: Tensor, d: Distribution) -> Tensor:
    """``draw_logits`` in which the taken token is never ruled out. (..., V), (...), (...) -> (..., V) float32.

    A second forward gives logits that differ in the last bits: a token drawn at the very border of a filter could
    otherwise find itself outside, with log-probability minus infinity.
    """
    if not d.filtered:
        return logits.float() / d.temperature
    kept = draw_logits(logits, place, d)
    index = tokens.unsqueeze(-1)
    return kept.scatter(-1, index, (logits.float() / d.temperature).gather(-1, index))


def token_logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log softmax(logits) at ``tokens``. (..., V), (...) -> (...)."""
    return logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)


def entropy(logits: Tensor) -> Tensor:
    """-sum_a p_a log p_a of softmax(logits), nats. (..., V) -> (...)."""
    return logits.logsumexp(-1) - (logits.softmax(-1) * logits).sum(-1)


def inverse_cdf(logits: Tensor, uniforms: Tensor) -> Tensor:
    """The token at which the cumulative probability passes the uniform number. (B, V), (B,) in [0, 1) -> (B,) int64.

    One number decides one token, so a row's draw depends on nothing else in the batch. A token of probability 0 is
    never returned: the first place whose sum is *above* the target has a probability above 0.
    """
    cumulative = logits.softmax(-1).double().cumsum(-1)
    total = cumulative[:, -1:]
    target = (uniforms.double().unsqueeze(1) * total).minimum(total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, target, right=True).squeeze(1)
