import itertools
import math

import numpy as np
import pytest

from rlnlp.maths.best_of_n import best_of_n, best_of_n_by_prompt, best_of_n_kl
from support import enumerable


def over_all_subsets(proxy, gold, n):
    """The mean over all subsets of n of the mean gold value of those with the highest proxy."""
    values = []
    for subset in itertools.combinations(range(len(proxy)), n):
        top = max(proxy[i] for i in subset)
        values.append(np.mean([gold[i] for i in subset if proxy[i] == top]))
    return math.fsum(values) / math.comb(len(proxy), n)


@pytest.mark.parametrize("decimals", [0, 1, 8])
@pytest.mark.parametrize("n", range(1, 9))
def test_it_is_the_mean_over_all_subsets_with_ties_averaged(n, decimals):
    draw = np.random.default_rng(n)
    proxy, gold = draw.normal(size=8).round(decimals), draw.normal(size=8)
    assert best_of_n(proxy, gold, n) == pytest.approx(over_all_subsets(proxy, gold, n), abs=1e-12)
    assert best_of_n(proxy, proxy, n) == pytest.approx(over_all_subsets(proxy, proxy, n), abs=1e-12)


def test_by_hand():
    proxy, gold = np.array([3.0, 1, 2]), np.array([10.0, 20, 60])
    assert best_of_n(proxy, gold, 1) == pytest.approx(30)
    assert best_of_n(proxy, gold, 2) == pytest.approx((10 + 10 + 60) / 3)
    assert best_of_n(proxy, gold, 3) == pytest.approx(10)
    assert best_of_n(np.zeros(3), gold, 3) == pytest.approx(30), "where all tie, none is better"


def test_every_prompt_is_ranked_by_itself():
    draw = np.random.default_rng(0)
    proxy, gold = draw.normal(size=(5, 7)).round(1), draw.normal(size=(5, 7))
    want = [over_all_subsets(p, g, 3) for p, g in zip(proxy, gold, strict=True)]
    assert best_of_n_by_prompt(proxy, gold, 3) == pytest.approx(want, abs=1e-12)


def test_many_samples_do_not_overflow():
    x = np.arange(3000.0)
    assert best_of_n(x, x, 1500) == pytest.approx(1500 / 1501 * 3001 - 1, rel=1e-12)  # the mean of a maximum of ranks


@pytest.mark.parametrize("decimals", [8, 0])
def test_its_expectation_over_all_pairs_of_texts_is_that_of_the_best_of_two(decimals):
    language = enumerable.language(0, 0.5)
    probability = np.exp(language.logprobs(language.policy).detach().double().numpy())
    probability /= probability.sum()
    proxy = language.rewards.double().numpy().round(decimals)
    gold = np.random.default_rng(1).normal(size=len(proxy))
    i, j = np.triu_indices(len(proxy))
    weight = probability[i] * probability[j] * np.where(i == j, 1, 2)
    estimate = best_of_n_by_prompt(np.stack([proxy[i], proxy[j]], 1), np.stack([gold[i], gold[j]], 1), 2)
    want = 0.0
    for value in np.unique(proxy):  # sum_y g(y) [F(y)^2 - F(y-)^2]; g of texts that tie is their mean
        here = proxy == value
        up_to, below = probability[proxy <= value].sum(), probability[proxy < value].sum()
        want += probability[here] @ gold[here] / probability[here].sum() * (up_to**2 - below**2)
    assert len(proxy) > 300
    assert float(weight @ estimate) == pytest.approx(want, abs=1e-9)


def test_the_kl_of_the_best_of_n():
    assert [best_of_n_kl(n) for n in (1, 2, 4)] == pytest.approx([0, math.log(2) - 0.5, math.log(4) - 0.75])
    # density n F^(n - 1) of the maximum against the uniform one, integrated by the midpoint rule
    middle = (np.arange(200_000) + 0.5) / 200_000
    density = 5 * middle**4
    assert best_of_n_kl(5) == pytest.approx(float((density * np.log(density)).mean()), rel=1e-6)


def test_what_cannot_be_told_is_refused():
    with pytest.raises(ValueError, match="best of 4"):
        best_of_n(np.zeros(3), np.zeros(3), 4)
    with pytest.raises(ValueError, match="best of 0"):
        best_of_n(np.zeros(3), np.zeros(3), 0)
    with pytest.raises(ValueError, match="shapes differ"):
        best_of_n_by_prompt(np.zeros((2, 3)), np.zeros((2, 4)), 2)
    with pytest.raises(ValueError, match="best of 0"):
        best_of_n_kl(0)
