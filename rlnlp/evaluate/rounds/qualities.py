"""``before-after.png``: what the gold reward is made of, satisfaction and length, of the first and the final policy."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill

from rlnlp.evaluate.rounds.bars import Compared, draw_before_after
from rlnlp.evaluate.rounds.history import TERMS, Interval, Record, mean_of, satisfaction_of
from rlnlp.maths.accuracy import Estimate

NAME = "before-after.png"
OF_GOLD, RATING, LENGTH = "terms of the gold reward, mean", "rating, 1 to 10", "tokens of a response, mean"
SCALE = (1.0, 10.0)  # of ratings
WIDTH = 52  # letters of a line of the title


def draw_qualities(rounds: Sequence[Record], prompts: int, directory: Path, title: str) -> Path | None:
    """Write ``before-after.png`` into ``directory``, measured on so many ``prompts``; None if nothing was measured.

    Raises:
        OSError: the disk is full, or the directory cannot be written to.
    """
    figures = list(qualities(rounds[0], rounds[-1], prompts))
    if not figures:
        return None
    draw_before_after(figures, fill(title, WIDTH), directory / NAME)
    return directory / NAME


def qualities(first: Record, last: Record, prompts: int) -> Iterator[Compared]:
    """The figures that both policies have."""
    before, after = first.get(TERMS) or {}, last.get(TERMS) or {}
    for name in after:
        yield from _compared(name, mean_of(before, name), mean_of(after, name), (prompts, prompts), OF_GOLD)
    rated = [(record["satisfaction"] or {"n": 0})["n"] for record in (first, last)]
    yield from _compared(
        "satisfaction", satisfaction_of(first), satisfaction_of(last), (rated[0], rated[1]), RATING, SCALE
    )
    length = "response_tokens"
    yield from _compared("length", mean_of(first, length), mean_of(last, length), (prompts, prompts), LENGTH)


def _compared(
    label: str, before: tuple[float, Interval | None] | None, after: tuple[float, Interval | None] | None,
    counts: tuple[int, int], unit: str, limits: tuple[float, float] | None = None,
) -> Iterator[Compared]:  # fmt: skip
    if before is not None and after is not None:
        sides = [
            Estimate(value, ends or (math.nan, math.nan), count)
            for (value, ends), count in zip((before, after), counts, strict=True)
        ]
        yield Compared(label, sides[0], sides[1], unit, limits)
