"""The panels of an RLHF run: what came of each round, and how the reward model was fitted in it."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

from rlnlp.evaluate.page.drawing import FIRST as OCHRE
from rlnlp.evaluate.page.drawing import INK
from rlnlp.evaluate.page.drawing import SECOND as BLUE
from rlnlp.evaluate.page.drawing import THIRD as RED
from rlnlp.evaluate.rounds.distance import distance
from rlnlp.evaluate.rounds.history import (
    FIRST,
    GOLD,
    LAST,
    REWARD_MODEL,
    History,
    Interval,
    Point,
    Record,
    judge_of,
    knowledge_of,
    mean_of,
    reward_before,
    satisfaction_of,
    win_rate_of,
)
from rlnlp.evaluate.rounds.panel import Panel, Series
from rlnlp.metrics import smoothed

ROUND, MEAN = "after round", "mean, 95 % interval"
Measured = Callable[[Record], tuple[float, Interval | None] | None]


def panels(history: History) -> list[Panel]:
    """The panels that there are data for, the most important first."""
    found = (make(history) for make in PANELS)
    return [panel for panel in found if panel is not None]


def win_rates(history: History) -> Panel | None:
    """How often the policy of each round is preferred to the first one, and to that of the round before."""
    rounds = [record for record in history.rounds if record["round"] > 0]
    first = _points(rounds, partial(win_rate_of, against=FIRST), 100)
    last = _points([each for each in rounds if each["round"] > 1], partial(win_rate_of, against=LAST), 100)
    series = [
        Series(label, points, color, style)
        for label, points, color, style in (
            ("to the first policy", first, BLUE, "o-"), ("to that of the round before", last, RED, "s--")
        )
        if points
    ]  # fmt: skip
    judges = {judge for record in rounds if (judge := judge_of(record)) is not None}
    by = f", by the {'gold reward' if judges == {GOLD} else 'reward model'}" if len(judges) == 1 else ""
    what = "How often it is preferred" if last else "Preferred to the first policy"
    return _of_rounds(history, "wins", f"{what}{by}", series, "% of the decided pairs, 95 % interval", 50)


def gold(history: History) -> Panel | None:
    """The mean gold reward."""
    series = [Series("gold reward", _points(history.rounds, partial(mean_of, name="gold")), OCHRE)]
    return _of_rounds(history, "gold", "Gold reward", series, MEAN)


def reward(history: History) -> Panel | None:
    """The mean reward by the model of each round, and that of the first policy by the same model."""
    now = _points(history.rounds, partial(mean_of, name="reward"))
    pairs = [(record["round"], reward_before(record)) for record in history.rounds]
    before = [Point(number, value) for number, value in pairs if value is not None]
    series = [Series("policy of the round", now, BLUE)]
    series += [Series("first policy, by the same model", before, INK, "s:")] if before else []
    return _of_rounds(history, "reward", "Reward by each round's reward model", series, MEAN)


def satisfaction(history: History) -> Panel | None:
    """The mean rating by the annotators."""
    series = [Series("satisfaction", _points(history.rounds, satisfaction_of), RED)]
    return _of_rounds(history, "satisfaction", "Satisfaction, rated 1 to 10", series, MEAN)


def knowledge(history: History) -> Panel | None:
    """How often the reward model is right on pairs that it has not learned from."""
    series = []
    for label, name, color, style in (
        ("held-out pairs, by the gold reward", "gold", OCHRE, "o-"),
        ("new judgements, before it learned from them", "new_judgements", BLUE, "s--"),
    ):
        points = _points(history.rounds, partial(knowledge_of, name=name), 100)
        series += [Series(label, points, color, style)] if points else []
    on = series[0].label.partition(",")[0] if len(series) == 1 else "unseen pairs"
    return _of_rounds(history, "knowledge", f"Reward model on {on}", series, "% of the pairs right, 95 % interval", 50)


def lengths(history: History) -> Panel | None:
    """The mean length of a response."""
    series = [Series("tokens", _points(history.rounds, partial(mean_of, name="response_tokens")), BLUE)]
    return _of_rounds(history, "lengths", "Response length", series, "tokens, 95 % interval")


def perplexity(history: History) -> Panel | None:
    """The perplexity of texts that were to stay likely."""
    found = [(record["round"], record["perplexity"]) for record in history.rounds if record.get("perplexity")]
    points = [Point(0, found[0][1]["first"])] if found else []
    points += [Point(number, each["now"]) for number, each in found]
    return _of_rounds(history, "perplexity", "Perplexity of texts", [Series("perplexity", points, BLUE)], "of a token")


def loss(history: History) -> Panel | None:
    """The loss of the reward model over its steps."""
    return _of_fits(history, "loss", "Reward-model loss", "nats per pair")


def accuracy(history: History) -> Panel | None:
    """The accuracy of the reward model on what it is fitted to, over its steps."""
    return _of_fits(history, "accuracy", "Reward-model accuracy in training", "% of the pairs right", 100)


PANELS: Sequence[Callable[[History], Panel | None]] = (
    win_rates, gold, reward, distance, satisfaction, knowledge, lengths, perplexity, loss, accuracy,
)  # fmt: skip


def _points(rounds: Sequence[Record], measured: Measured, scale: float = 1) -> list[Point]:
    found = [(record["round"], measured(record)) for record in rounds]
    return [
        Point(number, scale * at[0], at[1] and (scale * at[1][0], scale * at[1][1]))
        for number, at in found
        if at is not None
    ]


def _of_rounds(
    history: History, key: str, title: str, series: Sequence[Series], y: str, level: float | None = None
) -> Panel | None:
    """A panel over the rounds; None without a point."""
    points = [point for each in series for point in each.points]
    if not points:
        return None
    start = min(int(point.x) for point in points)
    rounds = range(start, max(record["round"] for record in history.rounds) + 1)
    return Panel(key, title, ROUND, y, series, rounds=rounds, level=level)


def _of_fits(history: History, name: str, title: str, y: str, scale: float = 1) -> Panel | None:
    """A metric over the steps of all fits, one after the other; each round has a line of its own."""
    rows = [row for row in history.metrics if row.get("stage") == REWARD_MODEL and name in row]
    series: list[Series] = []
    starts: list[Point] = []
    done = 0
    for number, group in groupby(rows, key=lambda row: row["round"]):
        values = [scale * row[name] for row in group]
        x = range(done + 1, done + len(values) + 1)
        starts += [Point(done + 0.5, number)] if done else []
        smooth = [Point(*pair) for pair in zip(x, smoothed(values), strict=True)]
        series.append(Series("", [Point(*pair) for pair in zip(x, values, strict=True)], BLUE, "-", faint=True))
        series.append(Series(f"round {number}", smooth, BLUE, "-"))
        done += len(values)
    if not series:
        return None
    what = "steps of its fits; dotted: a new round" if starts else "steps of its fit"
    return Panel(f"fit-{name}", title, what, y, series, starts=starts, legend=False)
