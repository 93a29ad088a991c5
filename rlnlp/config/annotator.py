"""The settings of annotators, group `annotator`: who judges, how much of it, and how simulated ones err."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rlnlp.config.setting import Problem, setting


@dataclass(frozen=True)
class Annotator:
    """Who judges responses, and how many."""

    name: Literal["simulated", "terminal", "web", "file"] = setting(
        "simulated: by the group reward; terminal, web: people, here or in browsers; file: annotator.path"
    )
    comparisons_per_round: int = setting("pairs of responses to be compared in each round", ge=1)
    ratings_per_round: int = setting("responses to be rated before the first round and after each one", ge=0)
    overlap: int = setting("annotators that compare the same pair", ge=1)
    repeat_fraction: float = setting("of their items what annotators are asked again, for the audit", ge=0, le=1)
    weights: dict[str, float] = setting(
        "how much the judgements of an annotator count, by name; 1 if not named, 0 leaves them out", ge=0
    )
    names: list[str] = setting("web: a link for each of these; terminal: the first; none: you")
    instructions: str = setting("what people are told to judge by")
    port: int = setting("web: the port on this machine; 0 means any", ge=0, le=65535, resume="free")
    path: str | None = setting("file: the judgements, in the standard preference format")
    raters: int = setting("simulated: how many", ge=1)
    spread: float = setting("simulated: how much the raters differ in taste, noise and bias", ge=0)
    temperature: float = setting("simulated: the difference of taste that is easily missed; 0 sees the smallest", ge=0)
    tie_coef: float = setting("simulated: how readily a tie is said (nu of Davidson 1970)", ge=0)
    tie_width: float = setting("simulated, at temperature 0: a difference of taste up to this is a tie", ge=0)
    position_bias: float = setting("simulated: the lead of the response shown first, in units of the temperature")
    error_rate: float = setting("simulated: decided answers that are the opposite of what was meant", ge=0, le=0.5)
    rating_range: list[float] = setting("simulated: what is rated 1, and what is rated 10")

    def problems(self) -> Iterator[Problem]:
        """What the kind of annotator needs and does not have."""
        if self.name == "file" and self.path is None:
            yield "path", "must name the file of judgements with annotator=file"
        if self.name == "simulated" and self.overlap > self.raters:
            yield "overlap", f"must be <= annotator.raters {self.raters}, got {self.overlap}"
        if len(self.rating_range) != 2 or self.rating_range[0] >= self.rating_range[1]:
            yield "rating_range", f"must be [lowest, highest], got {self.rating_range}"
