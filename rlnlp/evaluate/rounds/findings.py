"""What is wrong with the rounds of an RLHF run, or cannot be trusted; each finding comes with something to try."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from rlnlp.evaluate.advice import Settings, advised
from rlnlp.evaluate.findings import Finding
from rlnlp.evaluate.page.numbers import interval, number, places
from rlnlp.evaluate.rounds.history import (
    FIRST,
    GOLD,
    LAST,
    History,
    Record,
    judge_of,
    knowledge_of,
    mean_of,
    reward_before,
    satisfaction_of,
    win_rate_of,
)
from rlnlp.evaluate.rounds.over_optimization import nats
from rlnlp.evaluate.rounds.sentences import with_ends

EVEN = 0.5  # the win rate, or the accuracy, of whoever knows nothing
LONGER = 1.5  # times as long as the first policy's responses
NEARER = ("set algo.kl_budget", "lower algo.kl_budget", "raise algo.policy.kl_coef", "lower algo.policy.learning_rate")
BETTER_MODEL = ("raise annotator.comparisons_per_round", "raise algo.reward_model.ensemble_size")


def round_findings(history: History, settings: Settings) -> Iterator[Finding]:
    """Name and text of each finding."""
    rounds = history.rounds
    yield from _lost(rounds, settings)
    yield from _over_optimized(history, settings)
    yield from _fell(rounds, settings)
    yield from _judged_by_itself(rounds[-1])
    yield from _knows_nothing(rounds[-1], settings)
    yield from _longer(rounds, settings)
    yield from _less_satisfied(rounds)


def _lost(rounds: Sequence[Record], settings: Settings) -> Iterator[Finding]:
    """Rounds whose policy is worse than the one before it, or than the first."""
    for record in rounds[1:]:
        number_, against = record["round"], LAST if record["round"] > 1 else FIRST
        found = win_rate_of(record, against)
        if found is not None and found[1] is not None and found[1][1] < EVEN:
            other = "the first policy" if against == FIRST else f"that of round {number_ - 1}"
            what = (
                f"round {number_} lost: its policy is preferred to {other} in {with_ends(found)} of the decided pairs"
            )
            yield f"lost-{number_}", what + advised(settings, *NEARER[1:], *BETTER_MODEL)


def _over_optimized(history: History, settings: Settings) -> Iterator[Finding]:
    """The gold reward turned down in round 1, and the round went on."""
    peak, last = history.over["peak"], max((point["step"] for point in history.over["points"]), default=0)
    if peak is not None and peak["step"] < last:
        what = (
            f"over-optimized: in round 1 the gold reward fell after step {peak['step']:,} (KL {nats(peak['kl'])}),"
            f" and the round went on to step {last:,}"
        )
        yield "over-optimized", what + advised(settings, *NEARER[:3], *BETTER_MODEL)


def _fell(rounds: Sequence[Record], settings: Settings) -> Iterator[Finding]:
    """Rounds in which the gold reward fell while the reward by the model is above the first policy's."""
    for before, after in pairwise(rounds):
        old, new = mean_of(before, "gold"), mean_of(after, "gold")
        rewarded, start = mean_of(after, "reward"), reward_before(after)
        if old is None or new is None or old[1] is None or new[1] is None or rewarded is None or start is None:
            continue
        if new[1][1] < old[1][0] and rewarded[0] > start:
            size = places(old[0], new[0])
            ends = [f"{number(at[0], size)} {interval(at[1], size)}" for at in (old, new)]
            what = (
                f"in round {after['round']} the gold reward fell from {ends[0]} to {ends[1]}, while the reward by the"
                f" model is {number(rewarded[0] - start, 2)} above the first policy's"
            )
            yield f"gold-fell-{after['round']}", what + advised(settings, *NEARER[:3], *BETTER_MODEL)


def _judged_by_itself(last: Record) -> Iterator[Finding]:
    """The judge is what the policy was trained against."""
    judge = judge_of(last)
    if judge is not None and judge != GOLD:
        what = "the win rate is judged by the reward model that the policy was trained against"
        yield "judge", f"{what}, which is no independent evidence: let people judge, with rlnlp feedback"


def _knows_nothing(last: Record, settings: Settings) -> Iterator[Finding]:
    """The reward model may be no better than a coin on pairs that it has not learned from."""
    for name, words in ((GOLD, "held-out pairs, by the gold reward"), ("new_judgements", "new judgements")):
        found = knowledge_of(last, name)
        if found is not None and found[1] is not None and found[1][0] <= EVEN:
            what = f"the reward model is not shown to be better than a coin: right on {with_ends(found)} of {words}"
            yield "reward-model", what + advised(settings, BETTER_MODEL[0], "raise algo.reward_model.total_steps")
            return


def _longer(rounds: Sequence[Record], settings: Settings) -> Iterator[Finding]:
    """Responses grew by more than half, which judges like for its own sake."""
    before, after = mean_of(rounds[0], "response_tokens"), mean_of(rounds[-1], "response_tokens")
    if before is not None and after is not None and after[0] > LONGER * before[0]:
        what = f"responses grew from {number(before[0], 1)} to {number(after[0], 1)} tokens: a longer one may only look"
        yield (
            "longer",
            f"{what} better" + advised(settings, "raise algo.policy.kl_coef", "lower sampler.max_new_tokens"),
        )


def _less_satisfied(rounds: Sequence[Record]) -> Iterator[Finding]:
    """The ratings of the final policy are below those of the first."""
    before, after = satisfaction_of(rounds[0]), satisfaction_of(rounds[-1])
    if before is None or after is None or before[1] is None or after[1] is None:
        return
    if after[1][1] < before[1][0]:
        ends = [f"{number(at[0], 1)} {interval(at[1], 1)}" for at in (before, after)]
        yield "satisfaction", f"satisfaction fell from {ends[0]} to {ends[1]}"
