"""Annotators that are simulated: they judge by a hidden taste, with the noise and the biases that people have."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from rlnlp.feedback.records import BETTER, RATED, SIMULATED, TIE, Annotator, Item, Question, Stale, Verdict
from rlnlp.feedback.store import Store
from rlnlp.feedback.taste import Taste
from rlnlp.rng import stream

ROUNDING = 1e-5  # of a tenth of the range: the taste is a sum of numbers that a few digits are kept of
AT_ONCE = 16  # judgements of each rater that are saved together


@dataclass(frozen=True)
class Rater:
    """How one of them judges.

    ``temperature``: how large a difference of taste must be to be seen, 0 for the smallest one. ``position_bias``: the
    lead of the response that is shown first, in units of d. ``nu``: how readily a tie is said (Davidson). At
    temperature 0 a tie is what differs by at most ``tie_width``. ``error_rate``: of the answers that are no ties this
    fraction is the opposite of what was meant.
    """

    name: str
    taste: Taste
    temperature: float = 0.0
    position_bias: float = 0.0
    nu: float = 0.0
    error_rate: float = 0.0
    tie_width: float = 0.0

    def chances(self, first: float, second: float) -> tuple[float, float, float]:
        """P(first better), P(tie), P(second better) of two responses with these tastes, the first shown first.

        Davidson 1970 ("On extending the Bradley-Terry model to accommodate ties"), with d the difference of the log
        merits: P(1) : P(tie) : P(2) = e^(d/2) : nu : e^(-d/2), d = (taste_1 - taste_2) / temperature + position_bias.
        With ``error_rate`` e each decided answer is then flipped with probability e; e = .1 is Christiano et al. 2017's
        epsilon = .2, where the answer is drawn at random.
        """
        gap = first - second
        if self.temperature == 0:
            tie = float(abs(gap) <= self.tie_width)
            one, two = (1 - tie) * (gap > 0), (1 - tie) * (gap < 0)
        else:
            d = gap / self.temperature + self.position_bias
            top = max(abs(d) / 2, math.log(self.nu) if self.nu > 0 else -math.inf)  # the largest exponent becomes 0
            parts = math.exp(d / 2 - top), self.nu * math.exp(-top), math.exp(-d / 2 - top)
            one, tie, two = (part / sum(parts) for part in parts)
        e = self.error_rate
        return (1 - e) * one + e * two, tie, (1 - e) * two + e * one

    def rating(self, taste: float, rng: np.random.Generator) -> int:
        """A rating from 1 to 10: where the taste lies between ``low`` and ``high``, with logistic noise of the scale
        ``temperature``, whose difference is what the comparisons see; ``error_rate`` of the ratings are drawn blindly.
        """
        noisy = taste + self.temperature * float(rng.logistic())
        if rng.random() < self.error_rate:
            return int(rng.integers(1, 11))
        place = (noisy - self.taste.low) / (self.taste.high - self.taste.low)
        return int(min(10, max(1, 1 + math.floor(10 * place + ROUNDING))))


class SimulatedAnnotators:
    """Raters that take turns. Their answers are a function of the seed, the item and the rater alone."""

    def __init__(self, raters: Sequence[Rater], seed: int) -> None:
        self.raters, self._seed = raters, seed
        self.names: Sequence[str] = [rater.name for rater in raters]
        self.draws = False
        self._known: list[dict[tuple[str, str], float]] = [{} for _ in raters]

    def collect(self, store: Store, enough: Callable[[], bool]) -> None:
        """Judge until ``enough()``, or until there is nothing that one of the raters could judge."""
        people = [store.annotator(rater.name, SIMULATED) for rater in self.raters]
        judged = {item.id for item, _ in store.standing()}
        self._look_at([item for item in store.items() if item.id not in judged])
        numbered = list(enumerate(people))
        at_work = True
        while at_work:
            with store.tables.writing():  # each on its own would wait for the disk twice; lost ones are given again
                each_judged = [self._judge_one(store, *each, enough) for _ in range(AT_ONCE) for each in numbered]
            at_work = any(each_judged)

    def _judge_one(self, store: Store, number: int, person: Annotator, enough: Callable[[], bool]) -> bool:
        """Judge what comes next; False if nothing does, or if there are enough."""
        if enough() or (question := store.next(person)) is None:
            return False
        with suppress(Stale):  # the same rater at work in another process
            store.judge(person, question, self.verdict(number, question))
        return True

    def verdict(self, number: int, question: Question) -> Verdict:
        """What the rater with this number says."""
        self._look_at([question.item])
        rater, tastes = self.raters[number], [self._known[number][key] for key in _keys(question.item)]
        rng = stream(self._seed, f"annotator:{question.item.uid}:{rater.name}:{question.revision}")
        if len(tastes) == 1:
            return Verdict(RATED, rating=rater.rating(tastes[0], rng))
        first, tie, _ = rater.chances(*(tastes[i] for i in question.order))
        drawn = float(rng.random())
        if drawn < first:
            return question.prefers(0)
        return Verdict(BETTER, TIE) if drawn < first + tie else question.prefers(1)

    def _look_at(self, items: Sequence[Item]) -> None:
        """Score, at once, what has not been scored yet."""
        for rater, known in zip(self.raters, self._known, strict=True):
            fresh = {key: item.prompt for item in items for key in _keys(item) if key not in known}
            if fresh:
                scores = rater.taste.scores(list(fresh.values()), [response for _, response in fresh])
                known.update(zip(fresh, scores.tolist(), strict=True))


def differing(rater: Rater, count: int, spread: float, seed: int) -> list[Rater]:
    """``count`` raters around ``rater``, named after it with their numbers; with ``spread`` 0 they judge alike.

    Weights of the taste, temperature and error rate of each are multiplied by exp(spread z), the sum of the weights'
    sizes kept and the error rate at most .5; spread z is added to the position bias; z are standard normal.
    """
    found = []
    for number in range(1, count + 1):
        rng = stream(seed, "raters", number)
        weights = np.array(rater.taste.weights) * np.exp(spread * rng.standard_normal(len(rater.taste.weights)))
        size = np.abs(weights).sum()  # of their own signs they could cancel
        weights *= np.abs(rater.taste.weights).sum() / size if size else 1.0
        hot, wrong, bias = spread * rng.standard_normal(3)
        found.append(replace(
            rater, name=f"{rater.name}-{number}", taste=replace(rater.taste, weights=tuple(weights.tolist())),
            temperature=rater.temperature * math.exp(hot), error_rate=min(0.5, rater.error_rate * math.exp(wrong)),
            position_bias=rater.position_bias + bias,
        ))  # fmt: skip
    return found


def _keys(item: Item) -> list[tuple[str, str]]:
    """What a score belongs to: prompt and response."""
    return [(repr(item.prompt), text) for text in item.texts]
