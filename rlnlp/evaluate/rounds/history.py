"""The rounds of an RLHF run as they were recorded: plain data, read by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Record = Mapping[str, Any]
Interval = tuple[float, float]
FIRST, LAST = "against first", "against last"  # whom the policy of a round is compared with
GOLD = "gold"  # the judge by whom it is, where there is one
TERMS = "gold_terms"  # the means of its terms, by name
REWARD_MODEL, POLICY = "reward-model", "policy"  # stages


class Point(NamedTuple):
    """A figure at ``x``, with its 95 % confidence interval where one is known."""

    x: float
    y: float
    interval: Interval | None = None


@dataclass(frozen=True)
class History:
    """``rounds`` are the records of the first policy and of each round; ``metrics`` the rows of metrics.jsonl.

    ``over`` is the record of over-optimization.
    """

    rounds: Sequence[Record]
    metrics: Sequence[Record]
    over: Record


def mean_of(record: Record, name: str) -> tuple[float, Interval | None] | None:
    """A mean of a round, such as its "gold", with its interval; None where it was not measured."""
    found = record.get(name)
    if found is None:
        return None
    mean, low, high = found
    return mean, None if low is None or high is None else (low, high)


def satisfaction_of(record: Record) -> tuple[float, Interval | None] | None:
    """The mean rating of a round with its interval; None without ratings."""
    found = record.get("satisfaction")
    return None if found is None else (found["mean"], _ends(found["interval"]))


def win_rate_of(record: Record, against: str, of: str = "decided") -> tuple[float, Interval | None] | None:
    """A win rate of a round; None where nothing was compared, or no pair decided."""
    compared = (record.get("win_rate") or {}).get(against)
    found = None if compared is None else compared[of]
    return None if found is None else (found["value"], _ends(found["interval"]))


def knowledge_of(record: Record, name: str) -> tuple[float, Interval | None] | None:
    """The accuracy of a round's reward model, on "gold" or on "new_judgements"; None where it was not measured."""
    found = (record.get("reward_model") or {}).get(name)
    return None if found is None or found["accuracy"] is None else (found["accuracy"], _ends(found["interval"]))


def reward_before(record: Record) -> float | None:
    """The reward of the first policy by the reward model of this round; None where that is not known."""
    now, gain = mean_of(record, "reward"), mean_of(record.get("gains") or {}, "reward")
    return None if now is None or gain is None else now[0] - gain[0]


def judge_of(record: Record) -> str | None:
    """Who judged the policy of a round against the first; None where nobody did."""
    compared = (record.get("win_rate") or {}).get(FIRST)
    return None if compared is None else str(compared["judge"])


def _ends(interval: Sequence[float] | None) -> Interval | None:
    return None if interval is None or None in interval else (interval[0], interval[1])
