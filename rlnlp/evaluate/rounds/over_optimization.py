"""Where the gold reward turned down in the first round of an RLHF run, as plain data and in words."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from rlnlp.evaluate.rounds.history import Record
from rlnlp.maths.overoptimization import Curve, Peak, TurnOver, turn_over
from rlnlp.maths.resampling import Interval, Values

NOT_MEASURED = "no policy was measured on the way"
WITHOUT_GOLD = "no gold reward was measured, and the reward that was optimized cannot say that it misleads"


def over_optimization(
    steps: Sequence[int], kl: Values, proxy: Values, gold: Values | None, rng: np.random.Generator
) -> dict[str, Any]:
    """The curves of the rewards of the first round against d, the square root of the KL, and the peak of the gold one.

    ``steps`` are the T policies that were measured, ``kl`` (T,) their divergences from the first policy in nats per
    response, ``proxy`` and ``gold`` (T, P) the gains over it by prompt: of the reward that was optimized, and of the
    gold one, None where there is none. The peak is named by the rules of ``turn_over``; ``step`` is that of the
    measured policy that is best at the top of the curve. What is infinite is None.

    Raises:
        ValueError: the shapes do not fit, there is no prompt, or a number is not finite.
    """
    if len(kl) != len(steps):
        raise ValueError(f"{len(steps)} steps need as many divergences, got {len(kl)}")
    if not len(steps):
        return {"points": [], "proxy": None, "gold": None, "peak": None, "reason": NOT_MEASURED}
    of_gold = TurnOver(None, None, WITHOUT_GOLD) if gold is None else turn_over(kl, gold, rng)
    of_proxy = turn_over(kl, proxy, rng)
    means = [None] * len(steps) if gold is None else gold.mean(1).tolist()
    return {
        "points": [
            {"step": step, "kl": nats, "d": math.sqrt(max(nats, 0.0)), "reward": reward, "gold": true}
            for step, nats, reward, true in zip(steps, kl.tolist(), proxy.mean(1).tolist(), means, strict=True)
        ],
        "proxy": _curve(of_proxy.curve),
        "gold": _curve(of_gold.curve),
        "peak": None if of_gold.peak is None else _peak(of_gold.peak, steps),
        "reason": of_gold.reason,
    }


def _curve(curve: Curve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    return {name: _finite(value) if isinstance(value, tuple) else value for name, value in asdict(curve).items()}


def _peak(peak: Peak, steps: Sequence[int]) -> dict[str, Any]:
    return {
        "step": steps[peak.best], "d": peak.d, "kl": peak.kl, "kl_interval": _finite(peak.kl_interval),
        "gain": peak.gain,
    }  # fmt: skip


def _finite(interval: Interval) -> list[float | None]:
    return [end if math.isfinite(end) else None for end in interval]


def over_optimization_words(over: Record) -> str:
    """``gold peaked at KL 6.1, best at step 140``, with the interval of the KL; or why no turn-over was seen."""
    peak = over["peak"]
    if peak is None:
        return f"no turn-over seen: {over['reason']}"
    low, high = peak["kl_interval"]
    ends = f" [{nats(low)}, {nats(high)}]" if high is not None else f" [{nats(low)}, no upper end]"
    return f"gold peaked at KL {nats(peak['kl'])}{ends}, best at step {peak['step']:,}"


def nats(kl: float) -> str:
    """A KL with a digit that can be told apart."""
    return f"{kl:.1f}" if kl >= 1 else f"{kl:.2f}"
