"""Attributes of texts (sentiment, politeness, ...): tags on the grammar's alternatives, and how they combine."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

CATEGORIES = ("harmless", "hate", "misinformation", "spam", "adult", "violence")
SCALES = ("sentiment", "politeness", "helpfulness")

# (attribute, value). Scales are in hundredths: a sum of integers does not depend on their order.
Tag = tuple[str, int]
Tags = tuple[Tag, ...]


@dataclass(frozen=True)
class Attributes:
    """The attributes of a text: three scales from -1 to 1, and one category."""

    sentiment: float = 0.0
    politeness: float = 0.0
    helpfulness: float = 0.0
    category: str = "harmless"


def merge(inner: Tags, own: Tags) -> Tags:
    """The tags of a derivation: an alternative's own tags replace its parts' tags for the same attribute."""
    if not own:
        return inner
    names = {name for name, _ in own}
    return own + tuple(tag for tag in inner if tag[0] not in names)


def summarize(sentences: Iterable[Tags]) -> Attributes:
    """The attributes of a text from the tags of its sentences.

    A scale is the mean over the sentences that have a tag for it; the category is the first one that is not harmless.
    """
    means: dict[str, list[float]] = {scale: [] for scale in SCALES}
    category = 0
    for tags in sentences:
        for scale, values in means.items():
            own = [value for name, value in tags if name == scale]
            if own:
                values.append(sum(own) / (100 * len(own)))
        category = category or max((value for name, value in tags if name == "category"), default=0)
    sentiment, politeness, helpfulness = (sum(v) / len(v) if v else 0.0 for v in means.values())
    return Attributes(sentiment, politeness, helpfulness, CATEGORIES[category])


def parse_tags(text: str) -> Tags:
    """The tags in ``text``, such as ``{sentiment=0.5 category=spam}``.

    Raises:
        ValueError: a name or a value is unknown.
    """
    tags: list[Tag] = []
    for pair in text.strip("{}").split():
        name, _, value = pair.partition("=")
        if name == "category" and value in CATEGORIES:
            tags.append((name, CATEGORIES.index(value)))
        elif name in SCALES and re.fullmatch(r"-?(0(\.\d\d?)?|1(\.00?)?)", value):
            tags.append((name, round(float(value) * 100)))
        else:
            raise ValueError(f"unknown tag {pair!r}")
    return tuple(tags)
