"""The record of a round: how its policy compares with the first and the last one, and what its reward model knows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlnlp.algos.rounds.draws import Draws, Values
from rlnlp.data.preference_table import PreferenceTable
from rlnlp.maths.accuracy import Estimate, preference_accuracy
from rlnlp.maths.decided import win_rates
from rlnlp.maths.resampling import Interval, mean_interval_by_prompt
from rlnlp.maths.win_rates import pairs_of_all

Rng = np.random.Generator


def mean_record(values: Values, rng: Rng) -> list[float | None]:
    """The mean of values (P, D) with its 95 % confidence interval by prompt; a single prompt has none."""
    of_prompt = values.mean(1)
    low, high = _interval(mean_interval_by_prompt(of_prompt, rng)) or (None, None)
    return [float(of_prompt.mean()), low, high]


def _interval(ends: Interval) -> list[float] | None:
    """An interval as JSON has it: None where it is not known."""
    return list(ends) if all(map(math.isfinite, ends)) else None


def satisfaction(ratings: Sequence[int], rng: Rng) -> dict[str, Any] | None:
    """The mean of the ratings (1 to 10), each of a prompt of its own; None without any."""
    if not ratings:
        return None
    mean, *ends = mean_record(np.array(ratings, dtype=np.float64)[:, None], rng)
    return {"n": len(ratings), "mean": mean, "interval": None if None in ends else ends}


def comparison(judge: str, before: Values, after: Values, tie_width: float, rng: Rng) -> dict[str, Any]:
    """How often responses are preferred to earlier ones to the same prompts, by their scores (P, D), (P, D)."""
    found = win_rates(pairs_of_all(before, after), tie_width, rng)
    names = ("decided", "ties_half", "fraction_decided")
    return {"judge": judge, **{name: _estimate(vars(found)[name]) for name in names}}


def _estimate(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else {"value": found.value, "interval": _interval(found.interval), "n": found.pairs}


def accuracy(differences: Values, prompts: Sequence[int], rng: Rng) -> dict[str, Any] | None:
    """The fraction of pairs that a reward model gets right, of score differences (N,); None without a pair."""
    if not len(differences):
        return None
    found = preference_accuracy(differences, np.array(prompts), rng)
    return {"n": found.pairs, "accuracy": found.value, "interval": _interval(found.interval)}


def accuracy_by_gold(rewards: Values, gold: Values, tie_width: float, rng: Rng) -> dict[str, Any] | None:
    """The same against the gold reward, of all pairs of a prompt's responses (P, D) that it decides."""
    first, second = np.triu_indices(gold.shape[1], 1)
    gaps, by_model = gold[:, first] - gold[:, second], rewards[:, first] - rewards[:, second]
    decided = np.abs(gaps) > tie_width
    prompts = np.repeat(np.arange(len(gold)), len(first)).reshape(gaps.shape)
    return accuracy((np.sign(gaps) * by_model)[decided], prompts[decided].tolist(), rng)


def accuracy_on(table: PreferenceTable, scores: Values, rng: Rng) -> dict[str, Any] | None:
    """The same on the decided pairs of judgements, by the scores of all their texts (N,)."""
    differences, prompts, first = [], [], 0
    for row, unit in zip(table.rows, table.units, strict=True):
        decided = [pair for pair in row.row.pairs if pair.target == 1]
        differences += [scores[first + pair.chosen] - scores[first + pair.rejected] for pair in decided]
        prompts += [unit] * len(decided)
        first += len(row.texts)
    return accuracy(np.array(differences), prompts, rng)


def figures(draws: Draws, rewards: Values, rng: Rng) -> dict[str, list[float | None]]:
    """The means of what is known of held-out responses."""
    values = {"reward": rewards, "gold": draws.gold, "kl": draws.kl, "response_tokens": draws.tokens}
    return {name: mean_record(each, rng) for name, each in values.items()}


def gains(draws: Draws, first: Draws, rewards: Values, of_first: Values, rng: Rng) -> dict[str, Any]:
    """How much more that is than of the first policy's responses to the same prompts, term by term of gold too."""
    values = {
        "reward": rewards - of_first, "gold": draws.gold - first.gold, "response_tokens": draws.tokens - first.tokens,
    }  # fmt: skip
    terms = {
        name: by_prompt(draws.terms[name])[:, None] - by_prompt(first.terms[name])[:, None] for name in draws.terms
    }
    return {**{name: mean_record(each, rng) for name, each in values.items()}, "gold_terms": term_means(terms, rng)}


def without_gold(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a round whose gold reward cannot read the responses."""
    found = {**record, "gold": None, "gold_terms": {}}
    return {**found, "gains": {**record["gains"], "gold": None, "gold_terms": {}}} if "gains" in record else found


def term_means(terms: Mapping[str, Values], rng: Rng) -> dict[str, list[float | None] | None]:
    """The means of terms (P, D) over the prompts to whose responses each has a value; None if none has one."""
    found: dict[str, list[float | None] | None] = {}
    for name, values in terms.items():
        of_prompt = by_prompt(values)
        known = of_prompt[~np.isnan(of_prompt), None]
        found[name] = mean_record(known, rng) if len(known) else None
    return found


def by_prompt(values: Values) -> Values:
    """The mean of each row of values (P, D) without those that are NaN; NaN for a row of NaN alone."""
    known = ~np.isnan(values)
    count = known.sum(1)
    means: Values = np.where(known, values, 0.0).sum(1) / np.where(count > 0, count, np.nan)
    return means
