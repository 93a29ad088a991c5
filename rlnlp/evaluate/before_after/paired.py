"""Two sides compared on the same prompts, as plain data: differences with intervals, win rates, the worst and the best.

The statistic is the mean over prompts of each prompt's mean. Whatever is resampled is resampled by prompt: the samples
of one prompt are not independent.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlnlp.evaluate.before_after.draws import Draws
from rlnlp.evaluate.before_after.text_measures import distinct, repeated, rouge_l
from rlnlp.maths.agreement import agreement_by_gap
from rlnlp.maths.resampling import holm, mean_interval_by_prompt, sign_flip_p_value
from rlnlp.maths.win_rates import (
    length_controlled_win_rate,
    outcomes,
    pairs_of_all,
    pairs_of_different_draws,
    why_no_length_control,
    win_rate_interval,
)
from rlnlp.rng import stream

Array = NDArray[np.float64]
Row = dict[str, Any]
Pairs = Callable[[Array, Array], Array]
SHOWN = 5  # regressions and improvements
GROUPS = 5  # of pairs, by the gap of their scores
UNITS = {
    "length": "tokens", "distinct_1": "fraction of the words", "distinct_2": "fraction of the pairs of words",
    "repetition": "fraction of the 3-grams", "perplexity": "under the first policy", "rouge_l": "F, with references",
    "ended": "fraction of the responses",
}  # fmt: skip


class Resampling:
    """Fresh generators of one seed: every figure is resampled with the same numbers, in whatever order it is asked."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def interval(self, x: Array) -> list[float] | None:
        """The 95 % interval of the mean of ``x`` (P,); None for one prompt, of which none is known."""
        low, high = mean_interval_by_prompt(x, self.rng("bootstrap"))
        return [low, high] if math.isfinite(low) else None

    def p_value(self, x: Array) -> float:
        """That of a mean of 0."""
        return sign_flip_p_value(x, self.rng("signs"))

    def rng(self, name: str) -> np.random.Generator:
        """A generator at its start."""
        return stream(self._seed, name)


def compared(before: Draws, after: Draws, references: Sequence[str | None], pairs: Pairs, draw: Resampling) -> Row:
    """All that is measured of both, the part of the record that needs nothing but the responses.

    ``pairs`` gives the differences of the pairs of a prompt's draws that a win rate counts.
    """
    terms = {
        name: difference(by_prompt(before.terms[name]), by_prompt(after.terms[name]), draw) for name in after.terms
    }
    kept = {name: row for name, row in terms.items() if row is not None}
    for name, p in zip(kept, holm([row["p"] for row in kept.values()]), strict=True):
        kept[name]["p_holm"] = p
    judges = {
        name: difference(by_prompt(before.judges[name]), by_prompt(after.judges[name]), draw) for name in after.judges
    }
    score = difference(by_prompt(before.score), by_prompt(after.score), draw)
    assert score is not None, "every response has a score"
    kl = by_prompt(after.kl)
    rates = {"score": win_rate(before, after, before.score, after.score, pairs, draw)}
    rates |= {
        name: win_rate(before, after, before.judges[name], after.judges[name], pairs, draw)
        for name, row in judges.items()
        if row is not None
    }
    return {
        "score": score,
        "terms": kept,
        "judges": {name: row for name, row in judges.items() if row is not None},
        "measures": measures(before, after, references, draw),
        "kl": _mean(kl),
        "kl_interval": draw.interval(kl) if np.isfinite(kl).all() else None,
        "win_rate": rates["score"]["win_rate"],
        "win_rate_interval": rates["score"]["win_rate_interval"],
        "win_rates": rates,
        "verdict": verdict(score),
        "calibration": {name: agreement(before, after, name, draw) for name in rates if name != "score"},
        **extremes(before, after),
    }


def verdict(score: Row) -> str:
    """What the interval of the difference shows."""
    ends = score["difference_interval"]
    if ends is None or ends[0] <= 0 <= ends[1]:
        return "no difference shown"
    return "better" if ends[0] > 0 else "worse"


def by_prompt(x: Array) -> Array:
    """The mean of each prompt over the responses that have a value: (P, S) -> (P,), NaN where none has."""
    known = np.isfinite(x)
    totals: Array = np.where(known, x, 0).sum(1)
    means: Array = np.divide(totals, known.sum(1), out=np.full(len(x), np.nan), where=known.any(1))
    return means


def difference(before: Array, after: Array, draw: Resampling, unit: str = "") -> Row | None:
    """The row of a measure, (P,) of each side, over the prompts that have both; None if none has."""
    both = np.isfinite(before) & np.isfinite(after)
    if not both.any():
        return None
    old, new = before[both], after[both]
    return {
        "before": _mean(old),
        "after": _mean(new),
        "difference": _mean(new - old),
        "difference_interval": draw.interval(new - old),
        "p": draw.p_value(new - old),
        "n": int(both.sum()),
        "unit": unit,
    }


def measures(before: Draws, after: Draws, references: Sequence[str | None], draw: Resampling) -> dict[str, Row]:
    """What is measured whatever the reward is."""
    pairs = {
        "length": (by_prompt(before.length), by_prompt(after.length)),
        "distinct_1": (distinct(before.responses, 1), distinct(after.responses, 1)),
        "distinct_2": (distinct(before.responses, 2), distinct(after.responses, 2)),
        "repetition": (by_prompt(repeated(before.responses)), by_prompt(repeated(after.responses))),
        "perplexity": (np.exp(by_prompt(before.surprisal)), np.exp(by_prompt(after.surprisal))),
        "rouge_l": (by_prompt(rouge_l(before.responses, references)), by_prompt(rouge_l(after.responses, references))),
        "ended": (by_prompt(before.ended), by_prompt(after.ended)),
    }
    if before.score.shape[1] != after.score.shape[1]:  # over several texts there are more words to repeat
        del pairs["distinct_1"], pairs["distinct_2"]
    rows = {name: difference(old, new, draw, UNITS[name]) for name, (old, new) in pairs.items()}
    return {name: row for name, row in rows.items() if row is not None}


def win_rate(before: Draws, after: Draws, old: Array, new: Array, pairs: Pairs, draw: Resampling) -> Row:
    """How often ``after`` wins by the values ``old`` and ``new``, raw and with its length taken out."""
    known = np.isfinite(old).all(1) & np.isfinite(new).all(1)
    gained, longer = pairs(old[known], new[known]), pairs(before.length[known], after.length[known])
    wins = outcomes(gained).mean(1)
    reason = why_no_length_control(gained, longer)
    controlled = None if reason else length_controlled_win_rate(gained, longer, draw.rng("bootstrap"))
    ends = win_rate_interval(wins, draw.rng("bootstrap")) if len(wins) > 1 else None
    return {
        "win_rate": _mean(wins),
        "win_rate_interval": None if ends is None else list(ends),
        "ties": float((gained == 0).mean()),
        "length_controlled": None
        if controlled is None
        else {"win_rate": controlled[0], "interval": list(controlled[1])},
        "length_controlled_reason": reason,
    }


def agreement(before: Draws, after: Draws, judge: str, draw: Resampling) -> list[Row]:
    """How often a judge prefers the response that the score prefers, by the gap of the score: all pairs of a prompt."""
    score = np.concatenate([before.score, after.score], axis=1)
    judged = np.concatenate([before.judges[judge], after.judges[judge]], axis=1)
    one, other = np.triu_indices(score.shape[1], 1)
    known = np.isfinite(judged).all(1)
    gaps, preferred = (x[known][:, one] - x[known][:, other] for x in (score, judged))
    return [asdict(found) for found in agreement_by_gap(gaps, preferred, GROUPS, draw.rng("bootstrap"))]


def pairs_for(before: Draws, after: Draws) -> Pairs:
    """Pairs of different streams: of different draws where both sides have as many, else all."""
    same = before.score.shape == after.score.shape and before.score.shape[1] > 1
    return pairs_of_different_draws if same else pairs_of_all


def extremes(before: Draws, after: Draws) -> dict[str, list[Row]]:
    """The prompts whose score fell and rose most, each with its response that did so most, the worst first."""
    gained = (
        after.score - before.score if before.score.shape == after.score.shape else after.score - before.score[:, :1]
    )
    worst = [int(i) for i in gained.argmin(1)]
    best = [int(i) for i in gained.argmax(1)]
    order = np.argsort(gained.mean(1), kind="stable")
    fell = [_pair(before, after, int(p), worst[p]) for p in order[:SHOWN] if gained[p].mean() < 0]
    rose = [_pair(before, after, int(p), best[p]) for p in order[::-1][:SHOWN] if gained[p].mean() > 0]
    return {"regressions": fell, "improvements": rose}


def _pair(before: Draws, after: Draws, prompt: int, sample: int) -> Row:
    first = min(sample, before.score.shape[1] - 1)
    return {
        "prompt": before.prompts[prompt],
        "before": before.responses[prompt][first],
        "after": after.responses[prompt][sample],
        "score": {"before": float(before.score[prompt, first]), "after": float(after.score[prompt, sample])},
        "difference": float(after.score[prompt].mean() - before.score[prompt].mean()),
        "terms": {
            name: {"before": _number(before.terms[name][prompt, first]), "after": _number(value[prompt, sample])}
            for name, value in after.terms.items()
        },
    }


def _mean(x: Array) -> float | None:
    return float(x.mean()) if len(x) and np.isfinite(x).all() else None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def values_of(before: Draws, after: Draws) -> Mapping[str, Mapping[str, Any]]:
    """What the figures are drawn from: (P, S) of each side."""
    sides = {"before": before, "after": after}
    return {name: {side: getattr(draws, name) for side, draws in sides.items()} for name in ("score", "length")}
