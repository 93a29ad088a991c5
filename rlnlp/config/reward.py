"""The settings of the reward, and the names of its built-in terms."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rlnlp.config.setting import Problem, setting

REWARDS = {  # the built-in terms: the name that a config gives, and the function that it stands for
    **{
        name: f"rlnlp.rewards.text.{name}:{name}"
        for name in (
            "length", "diversity", "repetition", "similarity", "sentiment", "politeness", "keywords", "pattern",
        )
    },
    "exact-answer": "rlnlp.rewards.text.exact_answer:exact_answer",
    "coherence": "rlnlp.rewards.model.coherence:coherence_term",
    "classifier": "rlnlp.rewards.model.classifier:classifier",
    "learned": "rlnlp.rewards.model.learned:learned",
    **{
        f"gold-{name}": f"rlnlp.rewards.text.gold:{name}"
        for name in ("sentiment", "politeness", "helpfulness", "harmless", "accepted")
    },
    "optimality": "rlnlp.embedded.randomwalks:optimality",
}  # fmt: skip
UNLIMITED = ("learned",)  # the built-in terms whose values may be of any size
COLUMNS = (
    "prompts",
    "completions",
    "completion_ids",
    "references",
    "messages",
)  # what every user's function can be given
RESERVED = (*COLUMNS, "trainer_state", "log_extra", "log_metric")  # no column of data bears such a name


@dataclass(frozen=True)
class RewardTerm:
    """One term of the reward: weight times a function of the texts."""

    fn: str = setting(
        "a built-in term, or file.py:function, or package.module:function",
        code=True, trl="reward_funcs", verl="custom_reward_function.path",
    )  # fmt: skip
    weight: float = setting("factor of this term in the sum", default=1.0, trl="reward_weights")
    args: dict[str, Any] = setting("further arguments, by name", default={})
    scale: float = setting("multiplies the value before it is weighted", default=1.0)
    shift: float = setting("is added to the scaled value", default=0.0)
    clip: list[float] | None = setting("minimum and maximum of the scaled and shifted value", default=None)
    conversational: bool = setting(
        "the function is given prompts and completions as lists of messages, as TRL does with conversations",
        default=False,
    )
    floor: float | None = setting("for a value below, the other terms add nothing: a veto", default=None)

    @property
    def highest(self) -> float | None:
        """The most that the term can add to the sum; None if that is not known. Most built-in values are in [0, 1]."""
        ends = [self.shift, self.scale + self.shift]
        if (self.fn not in REWARDS or self.fn in UNLIMITED) and self.weight != 0:
            if self.clip is None:
                return None
            ends = self.clip
        low, high = self.clip or (min(ends), max(ends))
        return max(self.weight * min(max(end, low), high) for end in ends)

    def problems(self) -> Iterator[Problem]:
        """A name that is neither a built-in term nor a path to a function; limits that do not rise."""
        if self.clip is not None and (len(self.clip) != 2 or self.clip[0] >= self.clip[1]):
            yield "clip", f"must be two numbers, the lower one first, got {self.clip}"
        if ":" not in self.fn and self.fn not in REWARDS:
            yield "fn", f"must be one of {', '.join(REWARDS)}, or file.py:function, got '{self.fn}'"
        if self.conversational and self.fn in REWARDS:
            yield "conversational", f"is for functions of one's own: {self.fn} reads texts"
        if within_package(self.fn):
            name = built_in_name(self.fn) or f"one of {', '.join(REWARDS)}"
            yield "fn", f"must name a function of rlnlp by its short name: {name}, got '{self.fn}'"


def within_package(fn: str) -> bool:
    """True for a dotted name inside this package: it is no code of the user's."""
    return fn.startswith("rlnlp.") and ":" in fn


def built_in_name(fn: str) -> str | None:
    """The built-in term that a dotted name of this or an earlier version's package stands for, if any."""
    module, _, function = fn.partition(":")
    names = (f"{module.rpartition('.')[2]}-{function}", function)
    return next((name for name in names if within_package(fn) and name in REWARDS), None)


@dataclass(frozen=True)
class Reward:
    """The weighted sum that training makes large."""

    terms: dict[str, RewardTerm] = setting("the terms of the sum, by a name of one's own")
    workers: int = setting(
        "processes that call functions of your own, a part of the batch each; 0 calls them in the run's own process",
        ge=0, le=256, default=0,  # a choice of one's own that names its terms needs no more
    )  # fmt: skip

    @property
    def highest(self) -> float | None:
        """The most that the terms can sum to; None if that is not known."""
        each = [term.highest for term in self.terms.values()]
        return sum(most for most in each if most is not None) if None not in each else None

    def problems(self) -> Iterator[Problem]:
        """A reward without terms."""
        if not self.terms:
            yield "terms", "must have at least one term"
