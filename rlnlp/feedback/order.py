"""The order in which responses are shown, and which items are asked again: functions of the seed, not of memory."""

from collections.abc import Sequence
from typing import NamedTuple

from rlnlp.rng import stream

REPEATED_AFTER = 10  # items, at least, between an item and its repeat
SPREAD = 11  # as many distances from there on are equally likely
LOOKED_BACK = REPEATED_AFTER + 2 * SPREAD  # items: one that is due is asked within these


class Answered(NamedTuple):
    """An item that an annotator has answered; ``usable`` unless it was skipped or has been asked again."""

    item: int
    uid: str
    usable: bool


def order_of(seed: int, uid: str, annotator: str, count: int) -> tuple[int, ...]:
    """The numbers of ``count`` responses from left to right: random for each item and annotator."""
    return tuple(stream(seed, f"feedback-side:{uid}:{annotator}").permutation(count).tolist())


def repeat_due(seed: int, annotator: str, last: Sequence[Answered], fraction: float) -> int | None:
    """The item that is to be asked again now, or None.

    ``last`` are the ``LOOKED_BACK`` items that the annotator answered last, the earliest first. Of the items that were
    judged about ``fraction`` are repeated, at a random distance of at least ``REPEATED_AFTER`` items.
    """
    for position, answered in enumerate(last):
        if answered.usable and len(last) - position >= REPEATED_AFTER:
            draws = stream(seed, f"feedback-repeat:{answered.uid}:{annotator}")
            chosen, distance = draws.random() < fraction, REPEATED_AFTER + int(draws.integers(SPREAD))
            if chosen and len(last) - position >= distance:
                return answered.item
    return None
