"""The curves and frontiers of groups: the points that are drawn, and pictures that are there."""

import json

import numpy as np
import pytest
from scipy import stats

from rlnlp.evaluate.compare.comparison import compare, gather
from rlnlp.evaluate.compare.pictures import (
    MOST,
    band,
    curve_name,
    draw,
    drawn_groups,
    ends,
    frontier,
    over_seeds,
    points,
)
from rlnlp.evaluate.stored import read_run
from support.rounds import history
from support.stored import stored_run, stored_sweep

PNG = b"\x89PNG"


def section(directory):
    (found,) = compare(*gather([directory])).sections
    return found


def test_held_out_points_begin_before_training_and_metrics_of_training_do_not(tmp_path):
    run = read_run(stored_run(tmp_path / "r", 0.8, curve=(0.6, 0.7, 0.8)))
    assert points(run, "heldout/score") == {0: 0.5, 1: 0.6, 2: 0.7, 3: 0.8}
    assert points(run, "score") == pytest.approx({1: 0.5, 2: 0.6, 3: 0.7})


def test_a_run_that_was_measured_at_its_ends_only_has_these(tmp_path):
    run = read_run(stored_run(tmp_path / "r", 0.8))
    assert points(run, "heldout/score") == {0: 0.5}
    assert ends(run, "heldout/score") == {0: 0.5, 9: 0.8}


def test_the_win_rates_of_rounds_are_drawn_by_their_last_steps_and_over_their_kl(tmp_path):
    directory = stored_run(tmp_path / "r", 0.78, algo="rlhf")
    facts = json.loads((directory / "run.json").read_text())
    facts["result"]["history"] = history(2).rounds
    (directory / "run.json").write_text(json.dumps(facts))
    assert points(read_run(directory), "win_rate") == pytest.approx({0: 0.5, 80: 0.74, 160: 0.78})
    found = section(tmp_path)
    assert curve_name(found) == "heldout/win_rate"
    x, y = frontier(found.groups[0])
    assert x == pytest.approx([0, 2**0.5, 2])
    assert y == pytest.approx([0.5, 0.74, 0.78])
    assert set(draw(compare(*gather([tmp_path])), tmp_path)) == {"curves", "frontier"}


def test_curves_are_held_out_where_every_run_has_measured_between(tmp_path):
    stored_run(tmp_path / "0", 0.8, "seed=0", curve=(0.6, 0.7))
    assert curve_name(section(tmp_path)) == "heldout/score"
    stored_run(tmp_path / "1", 0.8, "seed=1")
    assert curve_name(section(tmp_path)) == "score"


def test_a_mean_is_drawn_at_the_steps_that_every_seed_has():
    steps, values = over_seeds([{0: 1.0, 1: 2.0, 3: 4.0}, {0: 3.0, 3: 6.0, 4: 9.0}])
    assert steps == [0, 3]
    assert values.tolist() == [[1.0, 4.0], [3.0, 6.0]]


def test_the_band_is_student_s_interval_at_each_step():
    values = np.array([[0.1, 2.0], [0.4, 2.5], [0.2, 4.0], [0.2, 4.1]])
    low, high = band(values)
    for i in range(2):
        x = values[:, i]
        assert (low[i], high[i]) == pytest.approx(stats.t.interval(0.95, 3, x.mean(), stats.sem(x)))


def test_the_frontier_is_of_means_over_seeds_and_roots_of_their_kl(tmp_path):
    (group,) = section(stored_sweep(tmp_path / "s", {"algo.batch_size=8": (0.7, 0.9)}, curve=(0.6, 0.8))).groups
    x, y = frontier(group)
    assert x.tolist() == [0.0, 1.0, 2.0]  # the runs' KL is the square of the step
    assert y == pytest.approx([0.5, 0.6, 0.8])


def test_a_kl_below_zero_counts_as_zero(tmp_path):
    stored_run(tmp_path / "0", 0.8, kl=-0.3)
    (group,) = section(tmp_path).groups
    assert frontier(group)[0].tolist() == [0.0, 0.0]


def test_of_many_groups_the_best_are_drawn_in_their_order(tmp_path):
    for size in range(1, MOST + 4):
        stored_run(tmp_path / f"{size:02}", 1.0 - size / 100, f"algo.batch_size={size}")
    assert [number for number, _ in drawn_groups(section(tmp_path))] == list(range(MOST))


def test_both_pictures_are_drawn_and_without_kl_only_the_curves(tmp_path):
    words = {"algo.batch_size=8": (0.7, 0.9, 0.8), "algo.batch_size=9": (0.5, 0.6), "data.prompts=$a_$": (0.6,)}
    stored_sweep(tmp_path / "s", words, curve=(0.6, 0.7, 0.8))
    found = draw(compare(*gather([tmp_path / "s"])), tmp_path)
    assert sorted(found) == ["curves", "frontier"]
    assert all(path.read_bytes().startswith(PNG) for path in found.values())
    stored_run(tmp_path / "loss", 2.0, algo="sft")
    assert list(draw(compare(*gather([tmp_path / "loss"])), tmp_path)) == ["curves"]
