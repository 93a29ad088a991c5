"""Where the reward turns down although it is optimized: gains against the distance from the first policy.

A gain is the reward of a policy less that of the first one; the distance is d, the square root of the KL divergence in
nats per response. Gao et al. 2022 (arXiv:2210.10760, section 1, the second of the two boxed equations, which have no
numbers) find that the gold reward under reinforcement learning follows R(d) = d (alpha - beta log d), with R(0) = 0.
Near 0 its slope is infinite, and it does not hold there (their footnote 1). They fit the gold reward well, the proxy's
less so (section 3.1). Where dR/dd = 0 lies its peak, d* = exp(alpha / beta - 1), at which R = beta d*.

R is 0 again at e d* and falls without an end, which a reward that has a lowest value cannot: what lies beyond says
nothing of the peak, and is left out.
"""

import math
from dataclasses import dataclass

import numpy as np

from rlnlp.maths.resampling import Interval, Values, check_values, mean_interval_by_prompt

NEAR = 0.3  # a smaller d is too close to the first policy for the form to hold
FEWEST = 8  # points from there on
FLAT = 0.9  # of the highest gain of the curve: which of these points is the peak is more than the form can tell
LARGE = 700.0  # the exponential of more is no float64


@dataclass(frozen=True)
class Curve:
    """R(d) = d (alpha - beta log d) of ``points`` points, with 95 % confidence intervals by prompt."""

    alpha: float
    alpha_interval: Interval
    beta: float
    beta_interval: Interval
    points: int

    def gains(self, d: Values) -> Values:
        """R(d), of any shape, for d of at least 0."""
        return gains_at(d, self.alpha, self.beta)


def gains_at(d: Values, alpha: float, beta: float) -> Values:
    """R(d) = d (alpha - beta log d), of any shape, for d of at least 0."""
    return d * (alpha - beta * np.log(np.where(d > 0, d, 1.0)))


@dataclass(frozen=True)
class Peak:
    """Where a curve is highest, and by how much; ``best`` is the number of the point to take.

    A curve is flat at its top: of the points whose gain by the curve is within 10 % of the highest, ``best`` is the one
    of the highest gain; where there is none, that of the nearest d. ``kl_interval`` is a 95 % confidence interval,
    infinite upwards where the peak may be anywhere.
    """

    d: float
    kl: float
    kl_interval: Interval
    gain: float
    best: int


@dataclass(frozen=True)
class TurnOver:
    """The curve of the points, None if they carry none, and its peak; where none is named, ``reason`` says why."""

    curve: Curve | None
    peak: Peak | None
    reason: str = ""

    def __str__(self) -> str:
        """What was seen, as a clause."""
        return f"no turn-over seen: {self.reason}" if self.peak is None else f"turn-over at KL {self.peak.kl:.3g}"


def turn_over(kl: Values, gains: Values, rng: np.random.Generator) -> TurnOver:
    """Fit the curve by least squares, and name its peak if the data show one.

    ``kl`` (T,) are the divergences of T policies from the first one, ``gains`` (T, P) the gains of P prompts: the mean
    over a prompt's responses, less the first policy's. The fit is to the means over prompts, every point with d >= 0.3
    counting the same, up to the first one behind the highest that is back at 0. The peak is named only if the interval
    of beta is above 0 and d* lies within these points.

    Least squares are linear in the gains: each prompt's own alpha and beta average to those of the means. Their
    intervals are those of means by prompt; ``kl`` is taken as known.

    Raises:
        ValueError: the shapes do not fit, there is no point or no prompt, or a number is not finite.
    """
    check_values(kl)
    if gains.ndim != 2 or len(gains) != len(kl):
        raise ValueError(f"gains of {len(kl)} points need the shape (points, prompts), got {gains.shape}")
    check_values(gains.reshape(-1))
    d = np.sqrt(np.maximum(kl, 0))  # an estimate may be below 0
    far = (d >= NEAR) & (d <= _back_at_zero(d, gains.mean(1)))
    if far.sum() < FEWEST:
        where = f"with d = sqrt(KL) >= {NEAR}" + ("" if far.sum() == (d >= NEAR).sum() else " and a gain above 0")
        return TurnOver(None, None, f"of {FEWEST} points {where} that are needed there are {far.sum()}")
    terms = np.stack([d[far], -d[far] * np.log(d[far])], axis=1)
    if np.linalg.matrix_rank(terms) < 2:
        return TurnOver(None, None, "all points have the same KL")
    alphas, betas = np.linalg.pinv(terms) @ gains[far]
    ends = [mean_interval_by_prompt(each, rng) for each in (alphas, betas)]
    curve = Curve(float(alphas.mean()), ends[0], float(betas.mean()), ends[1], int(far.sum()))
    if reason := _why_no_peak(curve, d[far]):
        return TurnOver(curve, None, reason)
    top = math.exp(curve.alpha / curve.beta - 1)
    peak = curve.beta * top
    at_top = far & (curve.gains(d) >= FLAT * peak)
    best = np.where(at_top, gains.mean(1), -np.inf).argmax() if at_top.any() else np.abs(d - top).argmin()
    return TurnOver(curve, Peak(top, top**2, _kl_interval(alphas, betas), peak, int(best)))


def _back_at_zero(d: Values, gains: Values) -> float:
    """The distance of the first point behind the highest whose gain is not above 0; infinite if there is none."""
    top = int(gains.argmax())
    back = d[(d > d[top]) & (gains <= 0)]
    return float(back.min()) if gains[top] > 0 and len(back) else math.inf


def _why_no_peak(curve: Curve, d: Values) -> str:
    low, high = curve.beta_interval
    if low <= 0:
        return f"the 95 % interval of beta, {low:.3g} to {high:.3g}, is not above 0"
    log_top = curve.alpha / curve.beta - 1  # its exponential may be too large for a number
    if log_top > math.log(d.max()):
        return f"the curve still rises at the last KL, {d.max() ** 2:.3g}"
    if log_top < math.log(d.min()):
        return f"the curve falls already at the first KL, {d.min() ** 2:.3g}"
    return ""


def _kl_interval(alphas: Values, betas: Values) -> Interval:
    """95 % confidence interval of the KL at the peak, from each prompt's alpha and beta, (P,) and (P,).

    That of the ratio of two means (Fieller 1954, "Some problems in interval estimation"): all r for which Student's t
    of the mean of alpha - r beta over prompts is not significant. They lie between the roots of a r^2 - 2 b r + c.
    """
    from scipy.special import stdtrit

    prompts = len(alphas)
    means = np.array([alphas.mean(), betas.mean()])
    t = float(stdtrit(prompts - 1, 0.975))
    (c, b), (_, a) = np.outer(means, means) - t**2 * np.cov(alphas, betas) / prompts
    if a <= 0:  # by Student's t beta may be 0
        return 0.0, math.inf
    half = math.sqrt(max(0.0, b**2 - a * c))
    return _kl_at((b - half) / a), _kl_at((b + half) / a)


def _kl_at(ratio: float) -> float:
    """The KL at the peak of alpha / beta."""
    log_kl = 2 * (ratio - 1)
    return math.exp(log_kl) if log_kl < LARGE else math.inf
