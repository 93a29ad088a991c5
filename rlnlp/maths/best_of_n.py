"""Best-of-n: the highest of n samples by one score, valued by the same score or by another."""

import math

import numpy as np

from rlnlp.maths.resampling import Values


def best_of_n(proxy: Values, gold: Values, n: int) -> float:
    """The mean gold value of the sample that ``proxy`` ranks highest of n, over all subsets of n of the N samples.

    (N,), (N,) -> a number: unbiased for n fresh samples (Nakano et al. 2021, arXiv:2112.09332, appendix I). Samples
    that tie for the highest proxy count equally.

    Raises:
        ValueError: the shapes differ, or n is not between 1 and N.
    """
    return float(best_of_n_by_prompt(proxy[None], gold[None], n)[0])


def best_of_n_by_prompt(proxy: Values, gold: Values, n: int) -> Values:
    """``best_of_n`` of every prompt. (P, N), (P, N) -> (P,).

    Of the N samples in order of their proxy, those in positions below b hold all of a subset with probability
    C(b, n) / C(N, n). A group of ties at positions a to b - 1 has the highest with the difference of two of these.

    Raises:
        ValueError: the shapes differ, or n is not between 1 and N.
    """
    if proxy.shape != gold.shape or proxy.ndim != 2:
        raise ValueError(f"shapes differ, or are not (prompts, samples): {proxy.shape}, {gold.shape}")
    samples = proxy.shape[1]
    if not 1 <= n <= samples:
        raise ValueError(f"the best of {n} cannot be told from {samples} samples")
    falling = np.arange(samples, n, -1)  # C(b - 1, n) = C(b, n) (b - n) / b
    below = np.concatenate([np.zeros(n), np.cumprod([1.0, *(falling - n) / falling])[::-1]])
    ranked = np.sort(proxy, axis=1)
    first = np.array([np.searchsorted(row, x, "left") for row, x in zip(ranked, proxy, strict=True)])
    last = np.array([np.searchsorted(row, x, "right") for row, x in zip(ranked, proxy, strict=True)])
    values: Values = ((below[last] - below[first]) / (last - first) * gold).sum(1)
    return values


def best_of_n_kl(n: int) -> float:
    """The KL divergence of best-of-n from the policy that it draws from, in nats: log n - (n - 1) / n.

    Exact for a continuous distribution of the proxy, an upper bound for all (Beirami et al. 2024, arXiv:2401.01879,
    theorem 1).

    Raises:
        ValueError: n is less than 1.
    """
    if n < 1:
        raise ValueError(f"the best of {n} is nothing")
    return math.log(n) - (n - 1) / n
