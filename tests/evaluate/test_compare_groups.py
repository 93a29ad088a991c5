"""The statistics of groups over seeds: against hand numbers, scipy, and data whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from rlnlp.evaluate.compare.comparison import compare, gather
from rlnlp.rng import stream
from support.stored import stored_run, stored_sweep

A, B = "algo.learning_rate=0.001", "algo.learning_rate=0.0001"


def section(directory, **more):
    (found,) = compare(*gather([directory]), **more).sections
    return found


def test_a_mean_over_three_seeds_has_student_s_interval_by_hand(tmp_path):
    (group,) = section(stored_sweep(tmp_path / "s", {A: (0.5, 0.6, 0.7)})).groups
    # standard deviation .1, error .1 / sqrt 3, t of 2 degrees of freedom 4.302653
    assert group.after.mean == pytest.approx(0.6)
    assert group.after.interval == pytest.approx((0.6 - 0.248414, 0.6 + 0.248414), abs=1e-6)
    assert group.difference.mean == pytest.approx(0.1)
    assert group.seeds == (0, 1, 2)
    assert group.middle is None


def test_from_ten_seeds_on_the_interquartile_mean_is_there(tmp_path):
    values = (0.0, *np.linspace(0.5, 0.6, 8), 1.0)
    (group,) = section(stored_sweep(tmp_path / "s", {A: values})).groups
    assert group.middle.mean == pytest.approx(np.sort(values)[2:-2].mean())
    low, high = group.middle.interval
    assert 0.3 < low < group.middle.mean < high < 0.8


def test_groups_of_the_same_seeds_are_paired_by_seed(tmp_path):
    x, y = (0.50, 0.60, 0.71), (0.40, 0.51, 0.60)
    (pair,) = section(stored_sweep(tmp_path / "s", {A: x, B: y})).pairs
    assert pair.paired
    assert pair.difference.p == pytest.approx(stats.ttest_rel(x, y).pvalue)
    assert pair.verdict == "better"
    assert pair.improvement == pytest.approx(6.5 / 9)  # .5 beats one, .6 two and ties with one, .71 beats three


def test_groups_of_other_seeds_are_independent(tmp_path):
    for seed, value in ((0, 0.5), (1, 0.6), (2, 0.71)):
        stored_run(tmp_path / f"a{seed}", value, A, f"seed={seed}")
    for seed, value in ((0, 0.4), (1, 0.51), (5, 0.6), (6, 0.62)):
        stored_run(tmp_path / f"b{seed}", value, B, f"seed={seed}")
    (pair,) = section(tmp_path).pairs
    welch = stats.ttest_ind((0.5, 0.6, 0.71), (0.4, 0.51, 0.6, 0.62), equal_var=False)
    assert not pair.paired
    assert pair.difference.p == pytest.approx(welch.pvalue)
    assert pair.verdict == "no difference shown"


def test_p_values_are_corrected_for_all_pairs(tmp_path):
    words = [f"algo.learning_rate={rate}" for rate in ("1e-3", "1e-4", "1e-5")]
    figures = ((0.50, 0.61, 0.70), (0.40, 0.50, 0.61), (0.30, 0.40, 0.50))
    found = section(stored_sweep(tmp_path / "s", dict(zip(words, figures, strict=True))))
    raw = sorted(pair.difference.p for pair in found.pairs)
    corrected = sorted(pair.p_holm for pair in found.pairs)
    assert corrected[0] == pytest.approx(3 * raw[0])
    assert corrected[1] == pytest.approx(max(3 * raw[0], 2 * raw[1]))
    assert corrected[2] == pytest.approx(max(corrected[1], raw[2]))


def test_of_losses_the_lower_mean_is_the_better(tmp_path):
    words = {"algo.batch_size=2": (2.0, 2.1), "algo.batch_size=4": (1.0, 1.1)}
    found = section(stored_sweep(tmp_path / "s", words, algo="sft"))
    (pair,) = found.pairs
    assert (found.best, pair.better, pair.improvement) == (1, 1, 1.0)
    assert pair.difference.mean == pytest.approx(-1.0)


def test_one_seed_has_no_interval_and_no_pair(tmp_path):
    found = section(stored_sweep(tmp_path / "s", {A: (0.5,), B: (0.6, 0.7)}))
    assert found.groups[0].after.interval is None
    assert found.pairs == ()
    assert found.best == 1


def test_of_equal_groups_a_difference_is_shown_in_about_one_of_twenty_comparisons(tmp_path):
    """Whole comparisons of three groups without any difference: the familywise rate is at most that of the level."""
    rng = stream(3, "null")
    from rlnlp.evaluate.compare.groups import Figure, Group, pairs

    class Drawn(Group):
        values = property(lambda self: self.where["values"])
        seeds = property(lambda self: tuple(range(len(self.values))))

    shown = 0
    for _ in range(40):
        found = []
        for _ in range(3):
            x = rng.normal(0.5, 0.1, 5)
            figure = Figure(float(x.mean()), None)
            found.append(Drawn({"values": x}, (None,) * 5, figure, figure, figure, None, None))
        shown += any(pair.verdict == "better" for pair in pairs(found, "score"))
    assert shown <= 7  # at most 40 x .05 = 2 are expected; more than 7 have a probability below .001


@pytest.mark.parametrize(
    ("reached", "told"),
    [
        ({A: (0.5,), B: (0.6,)}, "One seed of each"),
        ({A: (0.5, 0.6), B: (0.6, 0.7)}, "With 2 seeds in a group, intervals are wide"),
        ({A: (0.5, 0.6, 0.7, 0.8)}, "'no difference shown' does not mean that there is none"),
    ],
)
def test_with_few_seeds_a_plain_word_is_said(reached, told, tmp_path):
    notes = compare(*gather([stored_sweep(tmp_path / "s", reached)])).notes
    assert told in notes[0]


def test_with_five_seeds_nothing_is_said_of_their_number(tmp_path):
    notes = compare(*gather([stored_sweep(tmp_path / "s", {A: (0.5, 0.6, 0.7, 0.8, 0.9)})])).notes
    assert notes == ()
