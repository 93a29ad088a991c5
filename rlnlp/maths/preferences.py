"""Losses of reward models per pair and per prompt, scores of an ensemble, and the scale that scores are given.

A pair is two responses to one prompt. Its target is how far the first is preferred: 1, or 0.5 for a tie, or 0.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlnlp.maths.shapes import batch_size, check_vectors, same_shape

EQUAL = 1e-6  # of the largest score: scores are float32


def bradley_terry(first: Tensor, second: Tensor, target: Tensor, margin: Tensor, noise: float = 0.0) -> Tensor:
    """Cross-entropy of the targets with P(first is preferred), nats per pair. All (N,) -> (N,).

    P = (1 - noise) sigmoid(first - second -+ margin) + noise / 2. Without noise, margin and ties it is
    -log sigmoid(preferred - other) (Bradley and Terry 1952; Ouyang et al. 2022, arXiv:2203.02155, equation 1).

    ``noise`` is the chance that a label was drawn at random: P is then never below ``noise`` / 2 (Christiano et al.
    2017, arXiv:1706.03741, section 2.2.3, with 0.1). ``margin`` is by how much the preferred score should at least be
    the higher one (Touvron et al. 2023, arXiv:2307.09288, equation 2); a tie has none.

    Raises:
        ValueError: the shapes differ or are no vectors, a target is not within 0 and 1, a margin is negative, or
            ``noise`` is not within 0 and 1.
    """
    check_vectors(first.numel(), first=first, second=second, target=target, margin=margin)
    if not bool(((target >= 0) & (target <= 1)).all()):
        raise ValueError("a target is not within 0 and 1")
    if not bool((margin >= 0).all()):
        raise ValueError("a margin is negative")
    return _cross_entropy(first - second - margin * (2 * target - 1).sign(), target, noise)


def _cross_entropy(difference: Tensor, target: Tensor, noise: float) -> Tensor:
    """Of the targets with (1 - noise) sigmoid(difference) + noise / 2. Any shape, the same for both."""
    if not 0 <= noise < 1:
        raise ValueError(f"noise must be at least 0 and below 1, got {noise}")
    return -(target * _log_chance(difference, noise) + (1 - target) * _log_chance(-difference, noise))


def _log_chance(difference: Tensor, noise: float) -> Tensor:
    """log((1 - noise) sigmoid(difference) + noise / 2), of logarithms: no probability rounds to 0."""
    chosen = logsigmoid(difference)
    if noise == 0:
        return chosen
    return torch.logaddexp(chosen + math.log1p(-noise), torch.full_like(chosen, math.log(noise / 2)))


def all_pairs(scores: Tensor, ratings: Tensor, mask: Tensor, noise: float = 0.0) -> Tensor:
    """The mean Bradley-Terry loss over all pairs of a prompt's responses, nats. All (B, K) -> (B,).

    A prompt with k responses (True in ``mask``) has k (k - 1) / 2 pairs, each with that part of its weight: prompts
    count the same however many responses they have (Ouyang et al. 2022, arXiv:2203.02155, equation 1). The response
    with the higher rating is preferred; equal ratings are a tie. ``noise`` as for ``bradley_terry``.

    Raises:
        ValueError: the shapes differ or are no matrices, a prompt has fewer than two responses, or ``noise`` is not
            within 0 and 1.
    """
    batch_size(scores=scores)
    same_shape(scores=scores, ratings=ratings, mask=mask)
    scores, ratings = scores.masked_fill(~mask, 0), ratings.masked_fill(~mask, 0)  # padding may hold anything
    target = ((_first(ratings) - _second(ratings)).sign() + 1) / 2
    loss = _cross_entropy(_first(scores) - _second(scores), target.to(scores.dtype), noise)
    return _mean_of_pairs(loss, mask)


def _first(x: Tensor) -> Tensor:
    """The first of each pair of a row. (B, K) -> (B, K (K - 1) / 2)."""
    return x[:, _pairs(x)[0]]


def _second(x: Tensor) -> Tensor:
    """The second of each pair of a row. (B, K) -> (B, K (K - 1) / 2)."""
    return x[:, _pairs(x)[1]]


def _pairs(x: Tensor) -> Tensor:
    return torch.triu_indices(x.shape[1], x.shape[1], offset=1, device=x.device)


def _mean_of_pairs(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``x`` (B, K (K - 1) / 2) over the pairs whose two responses are True in ``mask`` (B, K). Returns (B,)."""
    both = _first(mask) & _second(mask)
    if not bool(both.any(1).all()):
        raise ValueError("a prompt has fewer than two responses: there is nothing to compare")
    return x.masked_fill(~both, 0).sum(1) / both.sum(1)


def centering(first: Tensor, second: Tensor) -> Tensor:
    """(first + second)^2 per pair: added with a small factor, it keeps the mean score near 0. (N,), (N,) -> (N,).

    Eisenstein et al. 2023 (arXiv:2312.09244) equation 2. The Bradley-Terry loss leaves the mean of a prompt's scores
    open.

    Raises:
        ValueError: the shapes differ or are no vectors.
    """
    check_vectors(first.numel(), first=first, second=second)
    return (first + second).square()


def centering_of_all_pairs(scores: Tensor, mask: Tensor) -> Tensor:
    """The mean of ``centering`` over all pairs of a prompt's responses. (B, K), (B, K) -> (B,).

    Raises:
        ValueError: the shapes differ or are no matrices, or a prompt has fewer than two responses.
    """
    batch_size(scores=scores)
    same_shape(scores=scores, mask=mask)
    scores = scores.masked_fill(~mask, 0)
    return _mean_of_pairs((_first(scores) + _second(scores)).square(), mask)


def rating_error(scores: Tensor, ratings: Tensor, mask: Tensor) -> Tensor:
    """The mean of (score - rating)^2 over a prompt's responses: least squares. All (B, K) -> (B,).

    Raises:
        ValueError: the shapes differ or are no matrices, or a prompt has no response.
    """
    batch_size(scores=scores)
    same_shape(scores=scores, ratings=ratings, mask=mask)
    if not bool(mask.any(1).all()):
        raise ValueError("a prompt has no response: there is nothing to compare")
    squares = (scores.masked_fill(~mask, 0) - ratings.masked_fill(~mask, 0)).square()
    return squares.sum(1) / mask.sum(1)


def weighted(losses: Tensor, weights: Tensor, total: float) -> Tensor:
    """Sum of the losses times their weights, divided by ``total``. (N,), (N,) -> ().

    ``total`` is the sum of the weights of the whole optimizer step: of a micro-batch alone, the result would depend on
    how the batch is split.

    Raises:
        ValueError: the shapes differ or are no vectors, a weight is negative, or ``total`` is not above 0.
    """
    check_vectors(losses.numel(), losses=losses, weights=weights)
    if not bool((weights >= 0).all()):
        raise ValueError("a weight is negative")
    if not total > 0:
        raise ValueError(f"the weights must have a sum above 0, got {total}")
    return (losses * weights).sum() / total


def ensemble_mean(scores: Tensor) -> Tensor:
    """The mean of the members' scores. (M, N) -> (N,).

    Raises:
        ValueError: ``scores`` is no matrix or has no member.
    """
    _check_members(scores)
    return scores.mean(0)


def ensemble_minimum(scores: Tensor) -> Tensor:
    """The lowest of the members' scores. (M, N) -> (N,).

    The worst-case optimization of Coste et al. 2023 (arXiv:2310.02743).

    Raises:
        ValueError: ``scores`` is no matrix or has no member.
    """
    _check_members(scores)
    return scores.amin(0)


def ensemble_mean_minus_uncertainty(scores: Tensor, factor: float) -> Tensor:
    """The members' mean less ``factor`` times their population standard deviation. (M, N) -> (N,).

    The uncertainty-weighted optimization of Coste et al. 2023 (arXiv:2310.02743) takes off the variance. The standard
    deviation has the unit of a score: what ``factor`` means does not change with the scale of the scores.

    Raises:
        ValueError: ``scores`` is no matrix or has no member.
    """
    _check_members(scores)
    return scores.mean(0) - factor * scores.std(0, correction=0)


def _check_members(scores: Tensor) -> None:
    if batch_size(scores=scores) < 1:
        raise ValueError("the ensemble has no member")


class Normalization(NamedTuple):
    """Of scores: ``gain`` times the score plus ``bias`` has mean 0 and standard deviation 1."""

    gain: float
    bias: float


def normalization_within_prompts(scores: Tensor, prompts: Tensor) -> Normalization:
    """Mean 0 over all scores, standard deviation 1 pooled within prompts. (N,), (N,) -> two numbers.

    ``prompts`` numbers the prompt of each score. The pooled variance is the sum of squared distances from the prompts'
    means, divided by the number of scores less the number of prompts. As Ziegler et al. 2019 (arXiv:1909.08593,
    section 2), who take the overall standard deviation: pairs leave a prompt's mean score open, so that its spread
    between prompts says nothing. If a prompt's scores are all equal, up to rounding, for every prompt, the gain is 1.

    Raises:
        ValueError: the shapes differ or are no vectors, a score is not finite, or no prompt has two scores.
    """
    check_vectors(scores.numel(), scores=scores, prompts=prompts)
    scores = _finite(scores)
    distinct, of_prompt = torch.unique(prompts, return_inverse=True)
    if len(distinct) == len(scores):
        raise ValueError("no prompt has two scores: nothing can be said of their spread within prompts")
    counts = torch.bincount(of_prompt, minlength=len(distinct))
    means = (
        torch.zeros(len(distinct), dtype=scores.dtype, device=scores.device).index_add(0, of_prompt, scores) / counts
    )
    return _normalization(scores, scores - means[of_prompt], len(scores) - len(distinct))


def normalization_overall(scores: Tensor) -> Normalization:
    """Mean 0 and (unbiased) standard deviation 1 over all scores. (N,) -> two numbers.

    Ziegler et al. 2019 (arXiv:1909.08593), section 2. If all scores are equal, up to rounding, the gain is 1.

    Raises:
        ValueError: ``scores`` is no vector, a score is not finite, or there are fewer than two.
    """
    check_vectors(scores.numel(), scores=scores)
    scores = _finite(scores)
    if len(scores) < 2:
        raise ValueError(f"two or more scores are needed, got {len(scores)}")
    return _normalization(scores, scores - scores.mean(), len(scores) - 1)


def _finite(scores: Tensor) -> Tensor:
    if not bool(scores.isfinite().all()):
        raise ValueError("a score is not finite")
    return scores.detach().double()


def _normalization(scores: Tensor, residuals: Tensor, freedom: int) -> Normalization:
    spread = math.sqrt(float(residuals.square().sum()) / freedom)
    gain = 1.0 if spread <= EQUAL * float(scores.abs().max()) else 1 / spread
    return Normalization(gain, -gain * float(scores.mean()))
