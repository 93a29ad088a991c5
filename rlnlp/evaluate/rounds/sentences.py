"""What came of the rounds of an RLHF run, in sentences that a newcomer can read."""

from collections.abc import Iterator, Sequence

from rlnlp.errors import counted
from rlnlp.evaluate.page.numbers import interval, number
from rlnlp.evaluate.preferences.words import rate, rates
from rlnlp.evaluate.rounds.history import FIRST, GOLD, LAST, Interval, Record, mean_of, satisfaction_of, win_rate_of
from rlnlp.evaluate.rounds.over_optimization import over_optimization_words

JUDGES = {GOLD: "the gold reward", "reward model": "the reward model"}


def sentences(rounds: Sequence[Record], over: Record) -> Iterator[str]:
    """The findings of a run, the most important first; what was not measured is left out."""
    yield from preferred(rounds)
    yield from cost(rounds)
    yield from satisfaction(rounds)
    yield from knowledge(rounds[-1])
    yield f"over-optimization in round 1: {over_optimization_words(over)}"
    for record in rounds:
        if record["ended_early"]:
            yield f"round {record['round']} ended early, after step {record['step']:,}: its KL passed algo.kl_budget"


def headline(record: Record) -> str:
    """How often the policy of a round is preferred to the first one, short."""
    found = win_rate_of(record, FIRST)
    if found is None:
        return "no pair of the first and the final policy is decided"
    return f"preferred to the first policy in {with_ends(found)} of the decided pairs"


def preferred(rounds: Sequence[Record]) -> Iterator[str]:
    """How often the final policy is preferred, to the first one and to the last round's."""
    last = rounds[-1]
    compared = (last.get("win_rate") or {}).get(FIRST)
    if compared is None:
        return
    judge = JUDGES[compared["judge"]]
    halves = win_rate_of(last, FIRST, "ties_half")
    share = with_ends(win_rate_of(last, FIRST, "fraction_decided"))
    of_all = f"{with_ends(halves)} of all {compared['ties_half']['n']:,} ({share} are decided)"
    if compared["decided"] is None:
        yield f"{judge} decides no pair of the first and the final policy"
        return
    decided = counted(compared["decided"]["n"], "decided pair")
    yield (
        f"the final policy is preferred to the first in {with_ends(win_rate_of(last, FIRST))} of"
        f" {decided}, judged by {judge}; with ties as halves in {of_all}"
    )
    against_last = win_rate_of(last, LAST)
    if last["round"] > 1 and against_last is not None:
        yield f"it is preferred to the policy of round {last['round'] - 1} in {with_ends(against_last)}"


def cost(rounds: Sequence[Record]) -> Iterator[str]:
    """What it cost in KL and in length."""
    last, parts = rounds[-1], []
    if (kl := mean_of(last, "kl")) is not None:
        parts.append(f"a KL of {_figure(kl, 2)} nats per response from the first policy")
    before, after = mean_of(rounds[0], "response_tokens"), mean_of(last, "response_tokens")
    if before is not None and after is not None:
        parts.append(f"responses of {number(after[0], 1)} tokens where they had {number(before[0], 1)}")
    if parts:
        yield f"what it cost: {' and '.join(parts)}"


def satisfaction(rounds: Sequence[Record]) -> Iterator[str]:
    """The ratings before and after."""
    before, after = satisfaction_of(rounds[0]), satisfaction_of(rounds[-1])
    if before is not None and after is not None:
        rated = counted(rounds[-1]["satisfaction"]["n"], "rating")
        yield f"satisfaction, 1 to 10: {_figure(before, 1)} before, {_figure(after, 1)} after ({rated})"


def knowledge(record: Record) -> Iterator[str]:
    """How far the reward model of a round is right."""
    model = record.get("reward_model")
    if model is None:
        return
    parts = []
    if model["gold"] is not None:
        pairs = counted(model["gold"]["n"], "held-out pair")
        parts.append(f"{_accuracy(model['gold'])} of {pairs} by the gold reward")
    parts.append(f"{rate(model['accuracy'])} of the judgements that it was fitted to")
    yield f"the reward model is right on {' and '.join(parts)}"
    if model["new_judgements"] is not None:
        asked = counted(model["new_judgements"]["n"], "judgement")
        right = _accuracy(model["new_judgements"])
        yield f"the one before it was right on {right} of the {asked} of round {record['round']}, not yet learned from"


def with_ends(found: tuple[float, Interval | None] | None) -> str:
    """``86.0 % [83.0 %, 89.0 %]``; a dash where there is none."""
    return "–" if found is None else f"{rate(found[0])} {rates(found[1])}".rstrip()


def _accuracy(found: Record) -> str:
    return f"{rate(found['accuracy'])} {rates(found['interval'])}".rstrip()


def _figure(found: tuple[float, Interval | None], decimals: int) -> str:
    return f"{number(found[0], decimals)} {interval(found[1], decimals)}".rstrip()
