"""How often one side's response beats the other's: raw, and as if both were equally long."""

import numpy as np

from rlnlp.maths.resampling import Interval, Rows, Values, bootstrap_interval, mean_interval_by_prompt, times_drawn

LEAST = 0.10  # of the pairs must have the longer response on either side, or its effect cannot be told
RIDGE = 0.01  # on phi: a normal prior with a standard deviation of 10
TOLERANCE, STEPS = 1e-10, 200  # of Newton's method


def wins_of_different_draws(before: Values, after: Values) -> Values:
    """How often ``after`` has the higher score, by prompt; ties count half. (P, S), (P, S) -> (P,).

    All pairs of a prompt's sample i of one side and j of the other with i != j. Samples with one number may come from
    the same random stream; a pair of those is no comparison of two independent responses.

    Raises:
        ValueError: the shapes differ, or there are fewer than two samples a prompt.
    """
    wins: Values = outcomes(pairs_of_different_draws(before, after)).mean(1)
    return wins


def wins_of_all_pairs(before: Values, after: Values) -> Values:
    """How often ``after`` has the higher score, by prompt; ties count half. (P, S1), (P, S2) -> (P,).

    All pairs of a prompt's samples, for sides with streams of their own.

    Raises:
        ValueError: the sides do not have the same prompts.
    """
    wins: Values = outcomes(pairs_of_all(before, after)).mean(1)
    return wins


def pairs_of_different_draws(before: Values, after: Values) -> Values:
    """``after`` sample j minus ``before`` sample i for all i != j of a prompt. (P, S), (P, S) -> (P, S (S - 1)).

    Raises:
        ValueError: the shapes differ, or there are fewer than two samples a prompt.
    """
    if before.shape != after.shape or before.ndim != 2 or before.shape[1] < 2:
        raise ValueError(f"two or more samples a prompt are needed, of both sides: {before.shape}, {after.shape}")
    every = after[:, None, :] - before[:, :, None]
    return every[:, ~np.eye(before.shape[1], dtype=bool)]


def pairs_of_all(before: Values, after: Values) -> Values:
    """``after`` sample j minus ``before`` sample i for all i, j of a prompt. (P, S1), (P, S2) -> (P, S1 S2).

    Raises:
        ValueError: the sides do not have the same prompts.
    """
    if before.ndim != 2 or after.ndim != 2 or len(before) != len(after):
        raise ValueError(f"both sides need samples of the same prompts: {before.shape}, {after.shape}")
    return (after[:, None, :] - before[:, :, None]).reshape(len(before), before.shape[1] * after.shape[1])


def outcomes(differences: Values) -> Values:
    """1 for a win, 0.5 for a tie, 0 for a loss. Any shape."""
    return (np.sign(differences) + 1) / 2


def win_rate_interval(wins: Values, rng: np.random.Generator) -> Interval:
    """95 % confidence interval of the win rate, the mean of ``wins`` (P,), by prompt and within 0 and 1.

    Raises:
        ValueError: ``wins`` is no vector, is empty or is not finite.
    """
    low, high = mean_interval_by_prompt(wins, rng)
    return max(0.0, low), min(1.0, high)


def why_no_length_control(scores: Values, lengths: Values) -> str:
    """The reason that no length-controlled win rate can be told from these pairs, as a clause; empty if there is none.

    Both are differences by pair, (P, K), as for ``length_controlled_win_rate``.
    """
    if np.ptp(outcomes(scores)) == 0:
        return "all pairs have the same outcome"
    for side, longer in (("after", (lengths > 0).mean()), ("before", (lengths < 0).mean())):
        if longer < LEAST:
            return f"the response {side} is the longer one in fewer than {100 * LEAST:.0f} % of the pairs"
    return ""


def length_controlled_win_rate(
    scores: Values, lengths: Values, rng: np.random.Generator
) -> tuple[float, Interval] | None:
    """The win rate that remains when the effect of length is taken out, with its interval; None if it cannot be told.

    ``scores`` and ``lengths`` (P, K) are after minus before for each pair of a prompt. The model is
    P(win) = sigmoid(theta + phi tanh(dl / sd(dl))), fitted by maximum likelihood to outcomes of 0, 0.5 and 1 with a
    weak ridge on phi; returned is sigmoid(theta). As AlpacaEval 2 (Dubois et al. 2024, arXiv:2404.04475, section 3)
    without its term for how hard an instruction is. The interval is of resamples by prompt, and in each of them sd,
    theta and phi are fitted anew.

    Raises:
        ValueError: the shapes differ.
    """
    if scores.shape != lengths.shape or scores.ndim != 2:
        raise ValueError(f"shapes differ, or are not (prompts, pairs): {scores.shape}, {lengths.shape}")
    if why_no_length_control(scores, lengths):
        return None
    prompts = len(scores)
    distinct, of_pair = np.unique(lengths, return_inverse=True)  # pairs of one length difference have one term
    counts = np.zeros((prompts, len(distinct)))
    np.add.at(counts, (np.arange(prompts)[:, None], of_pair.reshape(lengths.shape)), 1.0)
    wins = np.zeros_like(counts)
    np.add.at(wins, (np.arange(prompts)[:, None], of_pair.reshape(lengths.shape)), outcomes(scores))

    def fitted(rows: Rows) -> Values:
        times = times_drawn(rows, prompts)
        return equal_length_win_rates(distinct, times @ counts, times @ wins)

    low, high = bootstrap_interval(fitted, prompts, rng)
    return float(fitted(np.arange(prompts)[None])[0]), (max(0.0, low), min(1.0, high))


def equal_length_win_rates(lengths: Values, counts: Values, wins: Values) -> Values:
    """sigmoid(theta) of ``length_controlled_win_rate`` for each of R data sets, (R,).

    ``lengths`` (D,) are the differences of length, ``counts`` (R, D) how many pairs have them and ``wins`` (R, D) the
    sum of their outcomes. Newton's method with the damped step of Sun and Tran-Dinh 2019 (arXiv:1703.04599) for
    functions such as the logistic, nu = 2: log(1 + d) / d for d = sqrt(2) |step|. It descends from any start, which a
    full step does not.
    """
    total, won = counts.sum(1), wins.sum(1)
    decided = (won == 0) | (won == total)  # all outcomes agree: theta is infinite
    mean = counts @ lengths / total
    spread = np.sqrt(np.maximum(counts @ np.square(lengths) / total - np.square(mean), 0))
    x = np.tanh(lengths / np.where(spread > 0, spread, np.inf)[:, None])
    theta, phi = np.zeros(len(counts)), np.zeros(len(counts))
    won_by_x = (wins * x).sum(1)
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-(theta[:, None] + phi[:, None] * x)))
        weight = counts * p * (1 - p)
        slope_theta, slope_phi = won - (counts * p).sum(1), won_by_x - (counts * p * x).sum(1) - RIDGE * phi
        a, b, c = weight.sum(1), (weight * x).sum(1), (weight * x * x).sum(1) + RIDGE
        step = np.stack([c * slope_theta - b * slope_phi, a * slope_phi - b * slope_theta])
        step = np.where(decided, 0.0, step / np.where(decided, 1.0, a * c - b * b))
        size = np.sqrt(2) * np.hypot(*step)
        damped = step * np.where(size > 0, np.log1p(size) / np.where(size > 0, size, 1.0), 1.0)
        theta, phi = theta + damped[0], phi + damped[1]
        if size.max() < TOLERANCE:
            break
    return np.where(decided, won / total, 1 / (1 + np.exp(-theta)))
