"""Mistakes in the statistics of an evaluation: intervals, tests, win rates, best-of-n, seeds."""

RESAMPLING, COVERAGE, WIN_RATES, BEST_OF_N, SEEDS = (
    f"maths/test_{n}" for n in ("resampling", "interval_coverage", "win_rates", "best_of_n", "seeds")
)

GROUPS = [
    ("maths/resampling.py", (RESAMPLING,), [
        ("the bootstrap is not corrected for bias and skewness", 'method="BCa"', 'method="percentile"'),
        ("few prompts have the bootstrap's narrow interval", "if prompts < FEW:\n        from",
         "if prompts < 2:\n        from"),
        ("the jackknife's error is that of a sample", "np.sqrt((prompts - 1) / prompts * np.square",
         "np.sqrt(1 / (prompts - 1) * np.square"),
        ("the interval of few prompts is the normal one", "stdtrit(prompts - 1, 0.975)", "stdtrit(1e9, 0.975)"),
        ("equal values have no point", "if np.ptp(without) * (prompts - 1) <= EQUAL", "if np.ptp(without) < 0 * EQUAL"),
        ("the p-value is one-sided", "(np.abs(signs @ x) >= reached)", "(signs @ x >= reached)"),
        ("what equals the observed sum is not extreme", "(np.abs(signs @ x) >= reached)",
         "(np.abs(signs @ x) > reached + 2 * EQUAL * np.abs(x).max())"),
        ("rounding parts equal sums", "reached = abs(x.sum()) - EQUAL * np.abs(x).max()", "reached = abs(x.sum())"),
        ("the observed pattern is not counted", "(1 + extreme) / (1 + RESAMPLES)", "extreme / RESAMPLES"),
        ("the p-values of Holm may fall", "least = max(least, min(", "least = max(0.0, min("),
        ("Bonferroni for Holm", "(len(p_values) - rank) * p_values[i]", "len(p_values) * p_values[i]"),
        ("Holm in the order of size", "corrected[i] = least", "corrected[rank] = least"),
    ]),
    ("maths/win_rates.py", (WIN_RATES,), [
        ("draws of one stream are compared", "every[:, ~np.eye(before.shape[1], dtype=bool)]",
         "every.reshape(len(every), -1)"),
        ("a tie is a loss", "(np.sign(differences) + 1) / 2", "(differences > 0) * 1.0"),
        ("the raw rate is shown where length decides", "theta[:, None] + phi[:, None] * x", "theta[:, None] + 0 * x"),
        ("a full Newton step", "np.log1p(size) / np.where(size > 0, size, 1.0)", "1.0 + 0 * size"),
        ("the ridge pulls upwards", "- RIDGE * phi", "+ RIDGE * phi"),
        ("length differences are scaled about 0", "total - np.square(mean), 0", "total, 0"),
        ("pairs are drawn and not prompts", "low, high = bootstrap_interval(fitted, prompts, rng)",
         "low, high = bootstrap_interval(lambda rows: fitted(rows[:, : max(2, rows.shape[1] // 2)]), prompts, rng)"),
        ("agreeing outcomes are fitted", "(won == 0) | (won == total)", "won < 0"),
        ("a win rate beyond 1", "return max(0.0, low), min(1.0, high)", "return low, high"),
        ("one side's length is not looked at", '("before", (lengths < 0).mean())', '("before", (lengths != 0).mean())'),
    ]),
    ("maths/agreement.py", ("maths/test_agreement",), [
        ("pairs that the score does not part count", "parted = size > 0", "parted = size >= 0"),
        ("a tie of the judge is no agreement", "(np.sign(gaps) * np.sign(judged) + 1) / 2",
         "(np.sign(gaps) == np.sign(judged)) * 1.0"),
        ("the agreement is a mean of prompts", "float(total.sum() / count.sum())", "float((total / count).mean())"),
        ("the groups are of one width", "np.quantile(size[parted], np.arange(1, groups) / groups)",
         "np.linspace(size[parted].min(), size[parted].max(), groups + 1)[1:-1]"),
    ]),
    ("maths/best_of_n.py", (BEST_OF_N,), [
        ("draws with replacement", "(falling - n) / falling", "((falling - 1) / falling) ** n"),
        ("of ties the last one counts", "(below[last] - below[first]) / (last - first)",
         "below[last] - below[last - 1]"),
        ("gold ranks itself", "ranked = np.sort(proxy, axis=1)", "proxy = gold; ranked = np.sort(proxy, axis=1)"),
        ("the KL bound is log n", "math.log(n) - (n - 1) / n", "math.log(n)"),
    ]),
    ("maths/seeds.py", (SEEDS,), [
        ("a tenth is cut off and not a quarter", "cut = x.shape[1] // 4", "cut = x.shape[1] // 10"),
        ("the tasks are drawn together", "(times, *runs.shape))", "(times, len(runs), 1))"),
        ("runs and tasks are mixed", "np.take_along_axis(runs[None], rows, axis=1)",
         "runs.reshape(-1)[rng.integers(0, runs.size, rows.shape)]"),
        ("a tie is an improvement", "(np.sign(x[:, None] - y[None, :]) + 1) / 2", "(x[:, None] >= y[None, :]) * 1.0"),
        ("the interval has 90 percent", "[0.025, 0.975]", "[0.05, 0.95]"),
    ]),
]  # fmt: skip
