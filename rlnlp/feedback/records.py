"""What a feedback set holds: items to be judged, judgements with their revisions, and who made them."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from rlnlp.data.answers import Answer, words
from rlnlp.models.chat import Prompt

FIRST, SECOND, TIE = 0.0, 1.0, 0.5  # a preference for one of two responses, as files of pairs write it
BETTER, RATED, SKIPPED, UNDONE = "better", "rated", "skipped", "undone"
RATINGS = range(1, 11)
PERSON, SIMULATED, FILE = "person", "simulated", "file"  # kinds of annotators


@dataclass(frozen=True)
class NewItem:
    """Two responses to be compared, or one to be rated, and where they come from.

    ``uid`` makes adding it twice the same as once; empty for one of its own. ``overlap`` is how many annotators are to
    judge it. ``more`` are values that go with it, such as columns of the data: JSON.
    """

    prompt: Prompt | None
    responses: tuple[Answer, ...]
    run: str = ""
    step: int = 0
    round: int = 0
    overlap: int = 1
    uid: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: there are not one or two responses, or nobody is to judge it.
        """
        if len(self.responses) not in (1, 2):
            raise ValueError(f"an item has one response to be rated or two to be compared, got {len(self.responses)}")
        if self.overlap < 1:
            raise ValueError(f"at least one annotator must judge an item, got {self.overlap}")


@dataclass(frozen=True)
class Item(NewItem):
    """An item of the set. ``repeat_of`` is the item that it asks ``annotator``, who judged it before, once more."""

    id: int = 0
    sha256: str = ""
    repeat_of: int | None = None
    annotator: int | None = None
    created: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """The words of the responses."""
        return tuple(map(words, self.responses))


@dataclass(frozen=True)
class Verdict:
    """What an annotator says of an item: a ``preference`` (0: the first response, 1: the second, .5: neither), a
    ``rating`` from 1 to 10, or that it was skipped or undone.

    The first and second are those of the item, wherever they were shown. ``confidence`` is from 0 (a guess) to 1.
    """

    kind: str
    preference: float | None = None
    rating: int | None = None
    confidence: float | None = None

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: it says nothing, or two things at once.
        """
        if (self.kind == BETTER) != (self.preference in (FIRST, SECOND, TIE)) or (
            self.kind != BETTER and self.preference is not None
        ):
            raise ValueError(f"a comparison prefers 0, 1 or .5, got {self.preference!r} for '{self.kind}'")
        if (self.kind == RATED) != (type(self.rating) is int and self.rating in RATINGS) or (
            self.kind != RATED and self.rating is not None
        ):
            raise ValueError(f"a rating is a whole number from 1 to 10, got {self.rating!r} for '{self.kind}'")
        if self.kind not in (BETTER, RATED, SKIPPED, UNDONE):
            raise ValueError(f"no verdict '{self.kind}'")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f"the confidence is from 0 to 1, got {self.confidence!r}")


@dataclass(frozen=True)
class Judgement:
    """A verdict that was saved; of an item and an annotator the one with the highest ``revision`` (1, 2, ...) counts.

    ``shown_first`` is the response (0 or 1) that was shown on the left, or above; None if that is not known.
    ``request`` is the name that who asked gave it: the same one is never saved twice.
    """

    id: int
    item: int
    annotator: int
    revision: int
    verdict: Verdict
    shown_first: int | None
    seconds: float | None
    request: str
    made: str


@dataclass(frozen=True)
class Annotator:
    """Who judges, by a name that is unique in the set."""

    id: int
    name: str
    kind: str


@dataclass(frozen=True)
class Question:
    """An item as it is put to an annotator: ``order`` are the numbers of its responses from left to right.

    ``revision`` is that of the annotator's last judgement of it, 0 if there is none.
    """

    item: Item
    order: tuple[int, ...]
    revision: int

    @property
    def shown(self) -> tuple[str, ...]:
        """The responses from left to right."""
        return tuple(self.item.texts[i] for i in self.order)

    def prefers(self, side: int) -> Verdict:
        """The verdict that the response at ``side`` (0: left, 1: right) is the better one."""
        return Verdict(BETTER, float(self.order[side]))


@dataclass(frozen=True)
class Progress:
    """How many items an annotator has answered (``judged`` without those skipped), and how many are left."""

    judged: int
    skipped: int
    left: int

    @property
    def answered(self) -> int:
        """Judged and skipped."""
        return self.judged + self.skipped


class Stale(Exception):
    """The annotator has judged the item meanwhile, in another window say: what was asked no longer stands."""


def content_sha256(prompt: Prompt | None, responses: tuple[Answer, ...]) -> str:
    """What an item asks about, as one number: sha256 of its prompt and its responses in their order."""
    content = json.dumps([prompt, list(responses)], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()
