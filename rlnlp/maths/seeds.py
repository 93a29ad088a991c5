"""Statistics of a few runs that differ in their seeds only (Agarwal et al. 2021, arXiv:2108.13264)."""

import numpy as np

from rlnlp.maths.resampling import CELLS, RESAMPLES, Interval, Values, check_values, mean_interval_by_prompt

IQM_FROM = 10  # seeds; from here on the interquartile mean is told too


def seeds_interval(x: Values, rng: np.random.Generator) -> Interval:
    """95 % confidence interval of the mean of ``x`` (n,), one value a seed: Student's t below 20 seeds, then BCa.

    Of two groups with the same seeds, ``x`` are the differences by seed. Of one seed it is infinite; if all values are
    equal it is that point.

    Raises:
        ValueError: ``x`` is no vector, is empty or is not finite.
    """
    return mean_interval_by_prompt(x, rng)


def interquartile_mean(x: Values) -> float:
    """Mean of the values that remain when a quarter of them, rounded down, is cut off at either end. Any shape.

    Raises:
        ValueError: there is no value.
    """
    if x.size == 0:
        raise ValueError("of no values there is no mean")
    return float(_interquartile_means(x.reshape(1, -1))[0])


def _interquartile_means(x: Values) -> Values:
    """(R, K) -> (R,)."""
    cut = x.shape[1] // 4
    means: Values = np.sort(x, axis=1)[:, cut : x.shape[1] - cut].mean(1)
    return means


def stratified_interval(x: Values, rng: np.random.Generator) -> Interval:
    """95 % confidence interval of the interquartile mean of ``x``, (n,) runs or (n, M) runs of M tasks.

    Percentiles of the stratified bootstrap: in each resample the runs of each task are drawn apart from the others'.

    Raises:
        ValueError: there is no value.
    """
    if x.size == 0:
        raise ValueError("of no values there is no interval")
    runs = x.reshape(len(x), -1)
    at_once = max(1, CELLS // runs.size)
    means = [
        _interquartile_means(_drawn(runs, min(at_once, RESAMPLES - start), rng).reshape(-1, runs.size))
        for start in range(0, RESAMPLES, at_once)
    ]
    return _percentiles(np.concatenate(means))


def _drawn(runs: Values, times: int, rng: np.random.Generator) -> Values:
    """``times`` resamples of (n, M), for each task apart."""
    rows = rng.integers(0, len(runs), (times, *runs.shape))
    return np.take_along_axis(runs[None], rows, axis=1)


def _percentiles(x: Values) -> Interval:
    low, high = np.quantile(x, [0.025, 0.975])
    return float(low), float(high)


def probability_of_improvement(x: Values, y: Values, rng: np.random.Generator) -> tuple[float, Interval]:
    """How probable it is that a run of ``x`` (n,) beats one of ``y`` (k,), ties half, with its 95 % interval.

    The Mann-Whitney statistic over n k; percentiles of the bootstrap, both groups drawn apart. The groups are
    independent: of runs with the same seeds the interval is wider than need be.

    Raises:
        ValueError: a group is no vector, is empty or is not finite.
    """
    check_values(x)
    check_values(y)
    wins = (np.sign(x[:, None] - y[None, :]) + 1) / 2
    ours, theirs = (rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) for n in wins.shape)  # how often each is drawn
    drawn = ((ours @ wins) * theirs).sum(1) / wins.size
    return float(wins.mean()), _percentiles(drawn)
