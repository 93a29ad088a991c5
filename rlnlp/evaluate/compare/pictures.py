"""The two pictures of a comparison: the curves of all groups over the steps, and their frontiers, score against KL."""

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlnlp.errors import one_line
from rlnlp.evaluate.compare.comparison import Comparison, Section
from rlnlp.evaluate.compare.groups import Group
from rlnlp.evaluate.compare.sheets import group_words
from rlnlp.evaluate.outcome import METRICS
from rlnlp.evaluate.rounds.history import FIRST, mean_of, win_rate_of
from rlnlp.evaluate.stored import StoredRun
from rlnlp.maths.resampling import Values
from rlnlp.metrics import smoothed
from rlnlp.run.disk import replace

CURVES, FRONTIER = "curves", "frontier"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito: for all eyes
STYLES = ("-", "--", ":", "-.")
BAND_FROM = 3  # seeds; of two, an interval is wider than the picture
FAINT = 0.07  # bands are, so that those below are seen
MOST = 12  # groups that can be told apart in one picture
BESIDE = 5  # groups; a longer legend stands beside the axes
WIN_RATE = "win_rate"
Points = dict[int, float]  # by step


def draw(comparison: Comparison, directory: Path) -> dict[str, Path]:
    """Write the pictures that there are figures for; by name, where each is.

    Raises:
        OSError: one cannot be written.
    """
    drawn = {CURVES: _curves(comparison), FRONTIER: _frontier(comparison)}
    paths = {}
    for name, figure in drawn.items():
        if figure is not None:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Glyph .* missing")  # of a setting: a box is drawn instead
                figure.savefig(picture := io.BytesIO(), format="png", dpi=110)
            paths[name] = directory / f"{name}.png"
            replace(paths[name], picture.getvalue())
    return paths


def points(run: StoredRun, name: str) -> Points:
    """A metric of ``metrics.jsonl`` by step; what is measured on held-out data also before the first step.

    A win rate is measured at the end of each round, and recorded with it.
    """
    if name.removeprefix("heldout/") == WIN_RATE:
        return {step: rate for step, (_, rate) in by_round(run).items()}
    found: Points = {}
    held = name.startswith("heldout/")
    before = run.result.get("before", {}).get(name.removeprefix("heldout/"))
    if held and before is not None:
        found[0] = float(before)
    try:
        lines = (run.directory / "metrics.jsonl").read_bytes().split(b"\n")
    except OSError:
        return found
    mark = f'"{name}"'.encode()
    for line in lines:
        if mark in line:  # most lines have nothing of held-out data, and need not be parsed
            try:
                row = json.loads(line)
                found[int(row["step"])] = float(row[name])
            except (ValueError, KeyError, TypeError):
                break
    return found


def by_round(run: StoredRun) -> dict[int, tuple[float, float]]:
    """(KL, win rate against the first policy) of each round, by its last step; those of the first policy at step 0."""
    found = {0: (0.0, 0.5)}
    for record in run.result.get("history", []):
        rate, kl = win_rate_of(record, FIRST), mean_of(record, "kl")
        if rate is not None and kl is not None:
            found[int(record["step"])] = kl[0], rate[0]
    return found


def ends(run: StoredRun, name: str) -> Points:
    """``points``; where nothing was measured between, the figures before and after training."""
    found, key = points(run, name), name.removeprefix("heldout/")
    after = run.result.get("after", {}).get(key)
    if len(found) < 2 and after is not None:
        found[int(run.result.get("policy_step") or run.steps)] = float(after)
    return found


def over_seeds(series: Sequence[Points]) -> tuple[list[int], Values]:
    """(steps that every seed has, values (seeds, steps))."""
    steps = sorted(set(series[0]).intersection(*series[1:]))
    return steps, np.array([[each[step] for step in steps] for each in series])


def band(values: Values) -> tuple[Values, Values]:
    """Lower and upper end of the 95 % interval of the mean of (n, K) over n, by Student's t."""
    from scipy.special import stdtrit

    n = len(values)
    half = float(stdtrit(n - 1, 0.975)) * values.std(0, ddof=1) / np.sqrt(n)
    return values.mean(0) - half, values.mean(0) + half


def drawn_groups(section: Section) -> list[tuple[int, Group]]:
    """The groups with their numbers; of more than can be told apart, those with the best means."""
    found = list(enumerate(section.groups))
    if len(found) <= MOST:
        return found
    sign = -1 if METRICS[section.measure.metric] is max else 1
    best = sorted(found, key=lambda each: sign * each[1].after.mean)[:MOST]
    return sorted(best, key=lambda each: each[0])


def curve_name(section: Section) -> str:
    """The metric whose curves are drawn: on held-out data where every run has measured it between, else in training."""
    metric = section.measure.metric
    held = f"heldout/{metric}"
    between = all(len(points(run, held)) > 2 for run in section.measure.runs)
    return held if between else metric


def _curves(comparison: Comparison) -> Any:
    figure, axes = _axes(comparison.sections)
    for section, each in zip(comparison.sections, axes, strict=True):
        name = curve_name(section)
        seen: list[Values] = []
        for color, (number, group) in enumerate(drawn_groups(section)):
            series = [points(run, name) for run in group.runs]
            steps, values = over_seeds(series)
            if steps:
                if not name.startswith("heldout/"):
                    values = np.array([smoothed(list(row)) for row in values])
                _line(each, _label(group_words(section, number)), color, steps, values)
                seen.append(values)
        what = name.replace("heldout/", "held-out ").replace("_", " ")
        each.xaxis.get_major_locator().set_params(integer=True)
        _finish(each, section, "step", what, f"{what}: {_of_seeds(section.groups, banded=True)}", seen)
    return figure


def _frontier(comparison: Comparison) -> Any:
    sections = [section for section in comparison.sections if any(group.kl for group in section.groups)]
    if not sections:
        return None
    figure, axes = _axes(sections)
    for section, each in zip(sections, axes, strict=True):
        for count, (number, group) in enumerate(drawn_groups(section)):
            x, y = frontier(group)
            color, style = _style(count)
            words = _label(group_words(section, number))
            each.plot(x, y, color=color, linestyle=style, marker="o", markersize=3, label=words)
            each.plot(x[-1:], y[-1:], color=color, marker="o", markersize=8)
        rated = section.measure.metric == WIN_RATE
        what, over = ("win rate", "rounds") if rated else ("held-out score", "steps")
        drawn = f"{what.removeprefix('held-out ')} against KL over the {over}"
        title = f"{drawn}: {_of_seeds(section.groups, banded=False)}; large dot: the last {over[:-1]}"
        _finish(each, section, "square root of KL to the start, nats per response", what, title, [])
    return figure


def frontier(group: Group) -> tuple[Values, Values]:
    """(square roots of the mean KL, mean scores or win rates) over seeds, by step; a KL below 0 counts as 0."""
    both = [by_round(run) if _metric(run) == WIN_RATE else _by_step(run) for run in group.runs]
    steps = sorted(set(both[0]).intersection(*both[1:]))
    found = np.array([[each[step] for step in steps] for each in both]).reshape(len(both), len(steps), 2)
    return np.sqrt(np.maximum(found[:, :, 0].mean(0), 0)), found[:, :, 1].mean(0)


def _by_step(run: StoredRun) -> dict[int, tuple[float, float]]:
    """(KL, score) on held-out data where both were measured, by step."""
    kl, score = ends(run, "heldout/kl"), ends(run, "heldout/score")
    return {step: (kl[step], score[step]) for step in kl.keys() & score.keys()}


def _metric(run: StoredRun) -> str:
    return "" if run.outcome is None else run.outcome.metric


def _axes(sections: Sequence[Section]) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide = any(len(section.groups) > BESIDE for section in sections)
    figure = Figure(figsize=(10.5 if wide else 8, 4.6 * len(sections)), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(len(sections), 1, i + 1) for i in range(len(sections))]


def _style(number: int) -> tuple[str, str]:
    return COLORS[number % len(COLORS)], STYLES[number // len(COLORS) % len(STYLES)]


def _line(axes: Any, words: str, number: int, steps: Sequence[int], values: Values) -> None:
    """The mean with its band; of fewer than three seeds, each seed as a thin line."""
    color, style = _style(number)
    axes.plot(steps, values.mean(0), color=color, linestyle=style, linewidth=2, label=words)
    if len(values) >= BAND_FROM:
        low, high = band(values)
        axes.fill_between(steps, low, high, color=color, alpha=FAINT)
    elif len(values) > 1:
        for row in values:
            axes.plot(steps, row, color=color, linestyle=style, linewidth=0.6, alpha=0.6)


def _label(words: str) -> str:
    return f" {words}" if words.startswith("_") else words  # matplotlib hides such labels


def _of_seeds(groups: Sequence[Group], banded: bool) -> str:
    counts = sorted({len(group.runs) for group in groups})
    if counts == [1]:
        return "one seed of each"
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    shown = ", 95 % interval" if counts[-1] >= BAND_FROM else ", thin: each seed"
    return f"mean over {n} seeds{shown if banded else ''}"


def _finish(axes: Any, section: Section, x: str, y: str, title: str, seen: Sequence[Values]) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if len(section.groups) > MOST:
        title += f"; the best {MOST} of {len(section.groups)} groups"
    if apart := section.measure.apart:  # another section has other runs
        names = ", ".join(str(run.directory) for run in section.measure.runs)
        title += f"\n{one_line(names, 60)}: {one_line(apart, 60)}"
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.grid(alpha=0.3)
    if seen:  # the range of all seeds: a wide band must not flatten the curves
        low, high = min(float(v.min()) for v in seen), max(float(v.max()) for v in seen)
        margin = 0.08 * (high - low) or 0.5
        axes.set_ylim(low - margin, high + margin)
    beside: Mapping[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
    if axes.get_legend_handles_labels()[1] and len(section.groups) > 1:
        legend = axes.legend(fontsize=8, framealpha=0.7, **(beside if len(section.groups) > BESIDE else {}))
        for text in legend.get_texts():
            text.set_parse_math(False)  # a dollar in a setting is a dollar
