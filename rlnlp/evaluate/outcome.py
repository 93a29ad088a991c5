"""What a run reached, from the ``result`` of its run.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

METRICS = {"accuracy": max, "win_rate": max, "score": max, "loss": min}  # what a result is judged by -> the better
IN_WORDS = {"accuracy": "an accuracy", "win_rate": "a win rate", "score": "a score", "loss": "a loss"}


@dataclass(frozen=True)
class Outcome:
    """What a run reached: the name of its metric, before and after training, and the difference with its interval.

    ``n`` is the number of prompts, texts or pairs that it was measured on, ``kl`` in nats per response.
    """

    metric: str
    n: int
    heldout: bool
    before: float
    after: float
    difference: float
    interval: tuple[float, float] | None
    kl: float | None


def outcome(result: Mapping[str, Any]) -> Outcome | None:
    """The outcome in the ``result`` of run.json; None for a run that has none."""
    for metric in METRICS:
        if result.get("after", {}).get(metric) is not None:
            difference = result["difference"][metric]
            whole = difference if isinstance(difference, Mapping) else {"mean": difference, **result["difference"]}
            ends = whole["interval"]
            return Outcome(
                metric, result["n"], result.get("heldout", True), result["before"][metric], result["after"][metric],
                whole["mean"], (ends[0], ends[1]) if ends else None, result["after"].get("kl"),
            )  # fmt: skip
    return None


def in_words(result: Mapping[str, Any]) -> str:
    """The outcome of a run on one line; empty if it has none."""
    found = outcome(result)
    if found is None:
        return ""
    ends = f" [{found.interval[0]:+.3f}, {found.interval[1]:+.3f}]" if found.interval else ""
    return f"{found.metric} {found.before:.3f} -> {found.after:.3f}, {found.difference:+.3f}{ends}"
