"""The panel that shows over-optimization: gains of both rewards against the square root of the KL."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from rlnlp.evaluate.page.drawing import FIRST as OCHRE
from rlnlp.evaluate.page.drawing import SECOND as BLUE
from rlnlp.evaluate.rounds.history import History, Point, Record, mean_of, reward_before
from rlnlp.evaluate.rounds.over_optimization import nats
from rlnlp.evaluate.rounds.panel import Panel, Series
from rlnlp.maths.overoptimization import NEAR, gains_at

X = "square root of the KL (nats per response)"
HOW = {"-": "line: fit to round 1", "x:": "crosses: later rounds"}  # what the styles mean
MODEL, GOLD = "reward by the model, gain", "gold reward, gain"
CURVE = 100  # points that a fitted curve is drawn with


def distance(history: History) -> Panel | None:
    """The points of round 1 with their fitted curves, and those of later rounds; None without points."""
    left, right = (_series(history, name, color) for name, color in (("reward", BLUE), ("gold", OCHRE)))
    if not left and not right:
        return None
    styles = {each.style for each in (*left, *right)}
    x = "\n".join([X, *filter(None, ["; ".join(words for style, words in HOW.items() if style in styles)])])
    (y, shown), *rest = [(words, each) for words, each in ((MODEL, left), (GOLD, right)) if each]
    panel = Panel("distance", "Gain against distance", x, y, shown, mark=_mark(history.over))
    return replace(panel, right=rest[0][1], y_right=rest[0][0]) if rest else panel


def _series(history: History, name: str, color: str) -> list[Series]:
    points = [Point(p["d"], p[name]) for p in history.over["points"] if p[name] is not None]
    found = [Series("", points, color, "o")] if points else []
    if curve := history.over["proxy" if name == "reward" else "gold"]:
        fitted_to = sorted(point.x for point in points if point.x >= NEAR)[: curve["points"]]
        far = np.linspace(NEAR, fitted_to[-1], CURVE)
        fitted = gains_at(far, curve["alpha"], curve["beta"])
        found.append(Series("", [Point(*p) for p in zip(far.tolist(), fitted.tolist(), strict=True)], color, "-"))
    found += [Series("", each, color, "x:") for each in _later(history, name)]
    label = {"reward": "by the model", "gold": "gold"}[name]
    return [replace(each, label=label if i == 0 else "") for i, each in enumerate(found)]


def _later(history: History, name: str) -> list[list[Point]]:
    """The points of each later round, where the first policy's reward by the same judge is known."""
    start = {record["round"]: _before(history.rounds, record, name) for record in history.rounds}
    measured = [row for row in history.metrics if {"round", f"heldout/{name}", "heldout/kl"} <= row.keys()]
    found = []
    for number, rows in groupby(measured, key=lambda row: row["round"]):
        before = start.get(number)
        if number > 1 and before is not None:
            root = [(math.sqrt(max(0.0, row["heldout/kl"])), row[f"heldout/{name}"]) for row in rows]
            found.append([Point(d, value - before) for d, value in root])
    return found


def _before(rounds: Sequence[Record], record: Record, name: str) -> float | None:
    if name == "reward":
        return reward_before(record)
    first = mean_of(rounds[0], name)
    return None if first is None else first[0]


def _mark(over: Record) -> tuple[float, str] | None:
    peak = over["peak"]
    return None if peak is None else (peak["d"], f"gold peaks at KL {nats(peak['kl'])}")
