"""What texts say about themselves: tags on the alternatives of the grammar, and how they add up."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

CATEGORIES = ("harmless", "hate", "misinformation", "spam", "adult", "violence")
SCALES = ("sentiment", "politeness", "helpfulness")

# Scales are kept in hundredths: whole numbers add up to the same mean in any order.
Mark = tuple[str, int]
Marks = tuple[Mark, ...]


@dataclass(frozen=True)
class Attributes:
    """What a text says about itself: three scales from -1 to 1 and one category."""

    sentiment: float = 0.0
    politeness: float = 0.0
    helpfulness: float = 0.0
    category: str = "harmless"


def merge(inner: Marks, own: Marks) -> Marks:
    """The marks of a derivation: an alternative's own tags replace what its parts say on the same attribute."""
    if not own:
        return inner
    names = {name for name, _ in own}
    return own + tuple(mark for mark in inner if mark[0] not in names)


def summarise(sentences: Iterable[Marks]) -> Attributes:
    """The attributes of a text from the marks of its sentences.

    A scale is the mean over the sentences that speak of it; the category is the first one that is not harmless.
    """
    means: dict[str, list[float]] = {scale: [] for scale in SCALES}
    category = 0
    for marks in sentences:
        for scale, values in means.items():
            own = [value for name, value in marks if name == scale]
            if own:
                values.append(sum(own) / (100 * len(own)))
        category = category or max((value for name, value in marks if name == "category"), default=0)
    sentiment, politeness, helpfulness = (sum(v) / len(v) if v else 0.0 for v in means.values())
    return Attributes(sentiment, politeness, helpfulness, CATEGORIES[category])


def marks_of(text: str) -> Marks:
    """The marks of a tag such as "{sentiment=0.5 category=spam}".

    Raises:
        ValueError: the name or the value is unknown.
    """
    found: list[Mark] = []
    for pair in text.strip("{}").split():
        name, _, value = pair.partition("=")
        if name == "category" and value in CATEGORIES:
            found.append((name, CATEGORIES.index(value)))
        elif name in SCALES and re.fullmatch(r"-?(0(\.\d\d?)?|1(\.00?)?)", value):
            found.append((name, round(float(value) * 100)))
        else:
            raise ValueError(f"unknown tag {pair!r}")
    return tuple(found)
