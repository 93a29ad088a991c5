"""The formulas once more, slowly: plain Python floats, term by term from the papers, to compare the fast ones with."""

import math

RAGGED = [
    [True, True, True, True, True],
    [True, False, False, False, False],
    [True, True, True, False, False],
    [True, True, False, False, False],
]
HOLES = [
    [True, True, False, True, True],
    [False, True, False, False, False],
    [True, False, False, True, False],
    [True, True, True, True, True],
]


def lengths(mask):
    return [sum(row) for row in mask]


def has_hole(row):
    """A False place between two True places."""
    true = [t for t, real in enumerate(row) if real]
    return len(true) != true[-1] - true[0] + 1


def log_softmax(logits):
    top = max(logits)
    norm = top + math.log(math.fsum(math.exp(z - top) for z in logits))
    return [z - norm for z in logits]


def softmax(logits):
    return [math.exp(z) for z in log_softmax(logits)]


def entropy(logits):
    """Shannon 1948: -sum p log p, where a probability of 0 adds nothing."""
    return -math.fsum(p * math.log(p) for p in softmax(logits) if p > 0)


def kl(logits, ref_logits):
    """Kullback and Leibler 1951: sum p (log p - log q)."""
    pairs = zip(log_softmax(logits), log_softmax(ref_logits), strict=True)
    return math.fsum(math.exp(p) * (p - q) for p, q in pairs)


def mean_over(x, mask):
    chosen = [v for row, real in zip(x, mask, strict=True) for v, on in zip(row, real, strict=True) if on]
    return math.fsum(chosen) / len(chosen)


def places(row):
    """Where a row of a mask is True."""
    return [t for t, on in enumerate(row) if on]


def variance_over(x, mask):
    """Of the population: the mean of the squared distances from the mean."""
    mean = mean_over(x, mask)
    return mean_over([[(v - mean) ** 2 for v in row] for row in x], mask)


def whitened(x, mask, keep_mean=False):
    """Ziegler et al. 2019, their code: (x - mean) / deviation, and the mean added again; 0 where the mask is False."""
    mean, deviation = mean_over(x, mask), math.sqrt(variance_over(x, mask))
    if deviation == 0:
        return [
            [v if on and keep_mean else 0.0 for v, on in zip(*pair, strict=True)] for pair in zip(x, mask, strict=True)
        ]
    stay = mean if keep_mean else 0.0
    return [
        [(v - mean) / deviation + stay if on else 0.0 for v, on in zip(row, real, strict=True)]
        for row, real in zip(x, mask, strict=True)
    ]


def generalized_advantages(rewards, values, mask, gamma, lam):
    """Schulman et al. 2016, eq. 16, each advantage as its own sum over the differences that follow it."""
    out = []
    for r, v, real in zip(rewards, values, mask, strict=True):
        chosen, row = places(real), [0.0] * len(real)
        deltas = [
            r[t] + (gamma * v[chosen[i + 1]] if i + 1 < len(chosen) else 0.0) - v[t] for i, t in enumerate(chosen)
        ]
        for i, t in enumerate(chosen):
            row[t] = math.fsum((gamma * lam) ** (j - i) * deltas[j] for j in range(i, len(chosen)))
        out.append(row)
    return out


def discounted(rewards, mask, gamma):
    """What follows each chosen token: sum_l gamma^l r_{t+l} over the chosen ones."""
    out = []
    for r, real in zip(rewards, mask, strict=True):
        chosen, row = places(real), [0.0] * len(real)
        for i, t in enumerate(chosen):
            row[t] = math.fsum(gamma ** (j - i) * r[chosen[j]] for j in range(i, len(chosen)))
        out.append(row)
    return out


def clipped_surrogate(logprob, old, advantage, low, high):
    """Schulman et al. 2017, eq. 7, of one token, negated: -min(rho A, clip(rho, 1 - low, 1 + high) A)."""
    ratio = math.exp(logprob - old)
    return -min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)


def clipped_value_error(value, old, target, clip):
    """openai/baselines, ppo2, of one token: half the larger of two squared errors."""
    near = min(max(value, old - clip), old + clip)
    return max((value - target) ** 2, (near - target) ** 2) / 2


def explained_variance(values, returns, mask):
    """1 - Var(R - V) / Var(R)."""
    left = [[r - v for v, r in zip(*pair, strict=True)] for pair in zip(values, returns, strict=True)]
    return 1 - variance_over(left, mask) / variance_over(returns, mask)


def adapted(coef, kl, target, responses, horizon):
    """Ziegler et al. 2019, section 2.2, in the form of their code."""
    error = kl / target - 1
    if error > 0.2:
        error = 0.2
    if error < -0.2:
        error = -0.2
    return coef * (1 + error * responses / horizon)


def kl_of_token(logprob, ref, estimator):
    """Schulman 2020: log rho, its half square, and rho - 1 - log rho with rho = ref / pi."""
    log_ratio = ref - logprob
    return {"k1": -log_ratio, "k2": log_ratio**2 / 2, "k3": math.exp(log_ratio) - 1 - log_ratio}[estimator]


def policy_gradient_loss(logprobs, advantages, mask, total):
    """Williams 1992: -sum over the chosen tokens of the response's advantage times log pi, over ``total``."""
    terms = []
    for row, advantage, real in zip(logprobs, advantages, mask, strict=True):
        terms += [-advantage * logprob for logprob, on in zip(row, real, strict=True) if on]
    return math.fsum(terms) / total


def leave_one_out(returns, group):
    """Kool et al. 2019: the mean of the OTHER samples of the prompt."""
    out = []
    for i in range(len(returns)):
        first = i - i % group
        others = [returns[j] for j in range(first, first + group) if j != i]
        out.append(math.fsum(others) / len(others))
    return out


def group_normalized(returns, group):
    """Shao et al. 2024, section 4.1.2: (r - mean) / std of the group, population deviation, 0 if all are equal."""
    out = []
    for first in range(0, len(returns), group):
        r = returns[first : first + group]
        mean = math.fsum(r) / group
        deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in r) / group)
        out += [(x - mean) / deviation if max(r) > min(r) else 0.0 for x in r]
    return out


def penalized_rewards(scores, logprobs, ref_logprobs, mask, coef):
    """Ziegler et al. 2019, eq. 2, per token: -coef (log pi - log ref), and the score where the policy chose last."""
    out = []
    for score, row, ref, real in zip(scores, logprobs, ref_logprobs, mask, strict=True):
        rewards = [-coef * (p - q) if on else 0.0 for p, q, on in zip(row, ref, real, strict=True)]
        rewards[max(t for t, on in enumerate(real) if on)] += score
        out.append(rewards)
    return out


def top_k_set(logits, k):
    """Fan et al. 2018: the k likeliest tokens; 0 means all."""
    order = sorted(range(len(logits)), key=lambda a: -logits[a])
    return set(order[: k or len(order)])


def top_p_set(logits, p):
    """Holtzman et al. 2020, eq. 2: the smallest set of the likeliest tokens whose mass is at least p."""
    probability = softmax(logits)
    kept, mass = set(), 0.0
    for a in sorted(range(len(logits)), key=lambda a: -logits[a]):
        if mass >= p or probability[a] == 0:  # with the last token of any probability the mass is 1, but for rounding
            break
        kept.add(a)
        mass += probability[a]
    return kept


def restrict(logits, kept):
    return [z if a in kept else -math.inf for a, z in enumerate(logits)]


def inverse_cdf(probability, u):
    """The token whose stretch of [0, 1) holds u; stretches lie in the order of the token ids."""
    total = 0.0
    for token, p in enumerate(probability):
        total += p
        if u < total:
            return token
    return max(token for token, p in enumerate(probability) if p > 0)


def student_t(p, freedom):
    """Quantile for p > 0.5: bisection over the Simpson integral of Student's density (1908)."""
    norm = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def mass(t, pieces=2000):
        h = t / pieces
        density = [norm * (1 + (i * h) ** 2 / freedom) ** (-(freedom + 1) / 2) for i in range(pieces + 1)]
        return h / 3 * (density[0] + density[-1] + 4 * math.fsum(density[1::2]) + 2 * math.fsum(density[2:-1:2]))

    low, high = 0.0, 100.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if mass(middle) < p - 0.5 else (low, middle)
    return (low + high) / 2
