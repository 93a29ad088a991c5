"""The distribution of the next token: drawing from it, log-probabilities and entropy."""

from dataclasses import dataclass

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
    the smallest set of the likeliest tokens whose mass is at least p; the token that crosses p is kept). Tokens as
    likely as the k-th are kept, as in transformers and vLLM; with k = 1 only the first of the likeliest, which is
    greedy decoding.
    """
    logits = _tempered(logits, distribution)
    if distribution.min_new_tokens > 0 and distribution.end:
        is_end = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
        is_end[list(distribution.end)] = True
        logits = logits.masked_fill((position < distribution.min_new_tokens).unsqueeze(-1) & is_end, BANNED)
    if 0 < distribution.top_k < logits.shape[-1]:
        beyond = logits < logits.topk(distribution.top_k, dim=-1).values[..., -1:]
        if distribution.top_k == 1:
            beyond = torch.ones_like(beyond).scatter(-1, logits.argmax(-1, keepdim=True), False)
        logits = logits.masked_fill(beyond, BANNED)
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
