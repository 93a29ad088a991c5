"""The table of metrics: the loops log what is in it and nothing else; who shows a metric finds it there."""

import json
import math
import re

import pytest

from rlnlp.config.schema import RUNS
from rlnlp.metrics import (
    ALL,
    BY_NAME,
    CURVES,
    LIVE,
    METRICS,
    TERM,
    Metric,
    change,
    find_metric,
    label,
    metric_rows,
    panels,
    smoothed,
)  # fmt: skip
from rlnlp.run.progress import BEST_BY, Progress
from support import runs

SHORT = ["algo.total_steps=2", "heldout.every=1", "samples.every=0"]
UNMEASURED = {"rlhf": {"heldout/score", "heldout/loss", "heldout/accuracy"}}  # held-out figures of single stages
TOP_K = "sampler.top_k=5"  # with a filter there is a mismatch to log
MORE = {
    "ppo": [TOP_K, *SHORT],
    "rlhf": [TOP_K, "heldout.every=1", "samples.every=0", "algo.policy.critic=separate", "algo.policy.ptx_coef=0.1"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("metrics")


@pytest.mark.parametrize("algo", RUNS)
def test_a_loop_logs_the_metrics_of_the_table_and_no_others(algo, folder):
    texts = [f"data.texts={folder / 'data.jsonl'}"] if algo == "rlhf" else []
    settings = runs.settings(runs.words(algo, folder, *MORE.get(algo, SHORT), *texts))
    text = (runs.run(settings, folder / algo) / "metrics.jsonl").read_text()
    logged = {re.sub(r"^score/.*", TERM, name) for line in text.splitlines() for name in json.loads(line)}
    in_table = {name for metric in METRICS if algo in metric.algorithms for name in metric.names}
    assert logged - {"step"} == in_table - {"skipped"} - UNMEASURED.get(algo, set())


def test_a_skipped_step_logs_what_the_table_says(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    progress = Progress(tmp_path, keep=1)
    row = progress.record_step({"step": 1}, {"grad_norm": math.nan}, {"step": 1}, episodes=2, tokens=3)
    progress.close()
    assert row == {"step": 1, "episodes": 2, "skipped": 1}
    assert set(row) - {"step"} <= set(BY_NAME)


def test_each_metric_has_one_row_and_algorithms_that_exist():
    names = [name for metric in METRICS for name in metric.names]
    assert len(names) == len(set(names))
    assert set(ALL) == set(RUNS)
    assert all(set(metric.algorithms) <= set(ALL) for metric in METRICS)
    assert set(BEST_BY) <= set(BY_NAME)
    assert find_metric("score/polite") is find_metric("score")
    assert find_metric("heldout/loss") is find_metric("loss")
    assert find_metric("nothing") is None


def test_the_live_display_and_the_curves_show_these_metrics():
    assert LIVE[:11] == (
        "score", "kl", "entropy", "loss", "accuracy", "heldout/score", "heldout/loss", "heldout/reward",
        "heldout/gold", "heldout/accuracy", "explained_variance",
    )  # fmt: skip
    assert CURVES == ("score", "loss", "kl", "accuracy")
    assert all(name in metric.names for metric in METRICS for name in metric.live)
    positions = [position for metric in METRICS for position in metric.live.values()]
    assert len(set(positions)) == len(positions)
    assert [metric.names for metric in panels()] == [
        ("score", "heldout/score", TERM, "heldout/reward"), ("loss", "heldout/loss"), ("kl", "heldout/kl"),
        ("accuracy", "heldout/accuracy"), ("heldout/gold",), ("entropy",), ("approx_kl",),
        ("clip_fraction",), ("explained_variance",), ("response_tokens", "heldout/response_tokens"), ("grad_norm",),
    ]  # fmt: skip
    assert len({metric.panel for metric in panels()}) == len(panels())


def test_every_metric_that_is_shown_has_words_of_its_own():
    words = [label(name) for name in LIVE]
    assert len(set(words)) == len(words)
    assert not [name for name in LIVE if "_" in label(name) or "/" in label(name)]
    assert (label("score/mine"), label("heldout/kl"), label("updates")) == (
        "mine",
        "held-out KL to the start",
        "updates",
    )


def test_a_series_is_smoothed_by_its_neighbors_and_its_change_is_that_of_its_ends():
    line = [float(i) for i in range(100)]
    assert smoothed(line)[5:-5] == line[5:-5], "a line stays a line"
    assert smoothed([1.0, 2.0]) == [1.0, 2.0]
    assert smoothed([0.0] * 20 + [5.0] + [0.0] * 20)[17:24] == [0, 1, 1, 1, 1, 1, 0]
    assert change([1.0]) == 0
    assert change([1.0, 3.0]) == 2
    assert change([5.0] * 20 + [9.0] * 20) == 4, "one wild value more or less is not what has changed"
    assert change([0.0] * 39 + [10.0]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"low": 0, "high": 10}, "0 to 10"),
        ({"low": 1e-8, "high": 0.1}, "1e-8 to 0.1"),
        ({"low": -0.1, "trend": "rising"}, "above -0.1, rising"),
        ({"high": 3.5}, "below 3.5"),
        ({"low": 0.1, "of_first": True}, "above 0.1 of its first value"),
        ({"trend": "falling"}, "falling"),
        ({}, ""),
    ],
)
def test_the_healthy_range_in_words_comes_from_its_numbers(fields, words):
    assert Metric(("x",), "formula", **fields).healthy == words


def test_the_guide_s_table_has_a_row_for_each_metric():
    head, *rows = metric_rows()
    assert head == ["name", "formula", "unit", "healthy", "algorithms"]
    assert len(rows) == len(METRICS)
    assert next(row for row in rows if row[0] == "`clip_fraction`")[3:] == ["0 to 0.3", "ppo, rlhf"]
    assert next(row for row in rows if row[0] == "`grad_norm`")[4] == "all"
