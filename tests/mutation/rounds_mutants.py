"""Mistakes in the rounds of RLHF: peaks that the data do not show, what is a win, how much old judgements count."""

OVER, DECIDED, RECENCY = "maths/test_overoptimization", "maths/test_decided", "feedback/test_recency"

GROUPS = [
    ("maths/overoptimization.py", (OVER,), [
        ("the distance is the KL itself", "d = np.sqrt(np.maximum(kl, 0))", "d = np.maximum(kl, 0)"),
        ("the form of best-of-n is fitted", "-d[far] * np.log(d[far])], axis=1)", "-d[far] ** 2], axis=1)"),
        ("the form is fitted near the first policy", "far = (d >= NEAR)", "far = (d > 0)"),
        ("the form is fitted beyond its zero", "& (d <= _back_at_zero(d, gains.mean(1)))", "& (d >= 0)"),
        ("the form is cut at gains near the first policy", "(d > d[top]) & (gains <= 0)", "gains <= 0"),
        ("a peak is named of a bend that may be chance", "if low <= 0:", "if curve.beta <= 0:"),
        ("a peak is named beyond the data", "if log_top > math.log(d.max()):", "if False:"),
        ("a peak is named before the data", "if log_top < math.log(d.min()):", "if False:"),
        ("the peak is where the gain is back at 0", "math.exp(curve.alpha / curve.beta - 1)",
         "math.exp(curve.alpha / curve.beta)"),
        ("the point nearest to the peak is taken though another is better", "if at_top.any() else", "if False else"),
        ("the best point is taken wherever it is", "far & (curve.gains(d) >= FLAT * peak)", "far"),
        ("a point near the first policy is taken", "far & (curve.gains(d) >= FLAT * peak)",
         "curve.gains(d) >= -np.inf"),
        ("without a point at the top the first is taken", "np.abs(d - top).argmin()", "0"),
        ("the peak's interval is that of one prompt", "np.cov(alphas, betas) / prompts", "np.cov(alphas, betas)"),
    ]),
    ("maths/decided.py", (DECIDED,), [
        ("a difference of the tie width is decided", "np.abs(differences) <= tie_width",
         "np.abs(differences) < tie_width"),
        ("ties are lost", "_estimate(results.sum(1), every, rng)",
         "_estimate((results == 1).sum(1).astype(np.float64), every, rng)"),
        ("decided pairs are a fraction of all", "count[count > 0], rng)", "every[count > 0], rng)"),
    ]),
    ("feedback/recency.py", (RECENCY,), [
        ("older judgements count more", "age = max(rounds) - np.asarray(rounds, dtype=np.float64)",
         "age = np.asarray(rounds, dtype=np.float64) - min(rounds)"),
        ("the weights do not have a mean of 1", "weights / weights.mean()", "weights / weights.max()"),
    ]),
]  # fmt: skip
