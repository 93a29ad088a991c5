"""The pictures of an RLHF run show what its records say, and nothing where there is no record."""

import math

import matplotlib.image
import numpy as np
import pytest

from rlnlp.evaluate.curves import draw
from rlnlp.evaluate.rounds.bars import Compared, before_after, draw_before_after
from rlnlp.evaluate.rounds.panels import panels
from rlnlp.evaluate.rounds.pictures import draw_history, draw_panels, grid
from rlnlp.maths.accuracy import Estimate
from support import rounds as records


def by_key(history):
    return {panel.key: panel for panel in panels(history)}


def lines(axes):
    """The lines with a name: their points."""
    return {line.get_label(): line.get_xydata() for line in axes.get_lines() if not line.get_label().startswith("_")}


def test_every_figure_of_the_rounds_is_where_its_panel_has_it():
    found = by_key(records.history(3))
    assert list(found) == [
        "wins", "gold", "reward", "distance", "satisfaction", "knowledge", "lengths", "fit-loss", "fit-accuracy",
    ]  # fmt: skip
    first, last = found["wins"].series
    assert [(p.x, p.y) for p in first.points] == [
        (1, pytest.approx(74)),
        (2, pytest.approx(78)),
        (3, pytest.approx(82)),
    ]
    assert first.points[0].interval == pytest.approx((71, 77))
    assert [(p.x, p.y) for p in last.points] == [(2, pytest.approx(56)), (3, pytest.approx(56))]
    assert found["wins"].title == "How often it is preferred, by the gold reward"
    assert found["wins"].level == found["knowledge"].level == 50
    assert [(p.x, round(p.y, 9)) for p in found["gold"].series[0].points] == [(0, 0.4), (1, 0.45), (2, 0.5), (3, 0.55)]
    now, before = found["reward"].series
    assert [p.y for p in now.points] == pytest.approx([1.6, 2.0, 2.4])
    assert [p.y for p in before.points] == pytest.approx([0.1, 0.1, 0.1]), "reward less gain"
    assert [p.y for p in found["satisfaction"].series[0].points] == pytest.approx([5.1, 5.6, 6.1, 6.6])
    assert [p.y for p in found["lengths"].series[0].points] == pytest.approx([12, 12.5, 13, 13.5])
    by_gold, new = found["knowledge"].series
    assert [p.y for p in by_gold.points] == pytest.approx([91, 92, 93])
    assert [(p.x, p.y) for p in new.points] == [(2, 75), (3, 75)]
    assert list(found["gold"].rounds) == [0, 1, 2, 3]
    assert list(found["wins"].rounds) == [1, 2, 3]


def test_the_fits_of_the_rounds_follow_each_other_with_a_line_each():
    panel = by_key(records.history(2))["fit-loss"]
    raw = [series for series in panel.series if series.faint]
    assert [[p.x for p in series.points] for series in raw] == [list(range(1, 41)), list(range(41, 81))]
    assert raw[1].points[-1].y == pytest.approx(0.4)
    assert [start.x for start in panel.starts] == [40.5]
    assert [series.label for series in panel.series if not series.faint] == ["round 1", "round 2"]
    accuracy = by_key(records.history(1))["fit-accuracy"]
    assert accuracy.series[0].points[-1].y == pytest.approx(80)
    assert accuracy.starts == []


def test_what_has_no_data_has_no_panel(tmp_path):
    people = by_key(records.by_people())
    assert list(people) == ["wins", "reward", "distance", "knowledge", "lengths", "fit-loss", "fit-accuracy"]
    assert people["wins"].title.endswith("by the reward model")
    assert people["knowledge"].title == "Reward model on new judgements"
    assert people["distance"].right == ()
    one = by_key(records.history(1))
    assert [series.label for series in one["wins"].series] == ["to the first policy"]
    assert one["wins"].title == "Preferred to the first policy, by the gold reward"
    nothing = records.first_policy(gold=None, satisfaction=None, response_tokens=None)
    empty = records.history(rounds=[nothing], metrics=[], over=records.over(points=[], gold=None, proxy=None))
    assert panels(empty) == []
    assert draw_history(empty, tmp_path, "title") is None
    assert list(tmp_path.iterdir()) == []


def test_the_perplexity_of_texts_begins_with_that_of_the_first_policy():
    found = {"texts": 9, "first": 8.0, "now": 9.0, "ratio": None, "heldout": True}
    history = records.history(rounds=[records.first_policy(), records.round_record(1, perplexity=found)])
    (series,) = by_key(history)["perplexity"].series
    assert [(p.x, p.y) for p in series.points] == [(0, 8), (1, 9)]


def test_gains_are_drawn_over_the_root_of_the_kl_with_their_curves_and_the_peak():
    panel = by_key(records.history(2, over=records.over(peak=records.PEAK, reason="")))["distance"]
    points, fit, later = panel.series
    assert np.array([(p.x, p.y) for p in points.points[:2]]) == pytest.approx(np.array([[0.1, 0.1], [0.3, 0.3]]))
    assert (fit.points[0].x, fit.points[-1].x) == pytest.approx((0.3, 1.4))
    assert fit.points[-1].y == pytest.approx(1.4)
    assert panel.right[1].points[-1].y == pytest.approx(1.4 * (0.1 - 0.03 * math.log(1.4)))
    assert [p.x for p in later.points] == pytest.approx([2.5**0.5, 3**0.5, 3.5**0.5, 2])
    assert later.points[-1].y == pytest.approx(1.6 - 0.1), "less the first policy's reward by the same model"
    assert panel.right[2].points[-1].y == pytest.approx(0.52 - 0.4)
    assert panel.mark == (1.2, "gold peaks at KL 6.1")
    assert panel.x.endswith("line: fit to round 1; crosses: later rounds")
    figure = grid([panel], "t")
    left, right = figure.axes
    assert lines(left)["gold peaks at KL 6.1"][:, 0].tolist() == [1.2, 1.2]
    heights = [(0 - low) / (high - low) for low, high in (left.get_ylim(), right.get_ylim())]
    assert heights[0] == pytest.approx(heights[1]), "no gain is at the same height on both axes"


def test_a_curve_ends_with_the_last_point_that_it_is_fitted_to():
    over = records.over()
    panel = by_key(records.history(1, over=over | {"gold": over["gold"] | {"points": 4}}))["distance"]
    fitted = sorted(point["d"] for point in over["points"] if point["d"] >= 0.3)
    assert panel.right[1].points[-1].x == pytest.approx(fitted[3])
    assert panel.series[1].points[-1].x == pytest.approx(1.4)


def test_an_axis_on_the_right_has_its_0_where_the_left_one_has_it_if_gains_are_negative_too():
    over = records.over()
    points = [point | {"gold": -point["gold"]} for point in over["points"]]
    panel = by_key(records.history(1, over=over | {"points": points, "gold": None}))["distance"]
    figure = grid([panel], "t")
    heights = [(0 - low) / (high - low) for low, high in (axes.get_ylim() for axes in figure.axes)]
    assert heights[0] == pytest.approx(heights[1])
    low, high = figure.axes[1].get_ylim()
    assert low < -0.1
    assert high > 0


def test_a_panel_is_drawn_as_it_says_and_told_in_words():
    panel = by_key(records.history(2))["wins"]
    (axes,) = grid([panel], "a $title$").axes
    drawn = lines(axes)
    assert drawn["to the first policy"] == pytest.approx(np.array([[0.96, 74], [1.96, 78]]))
    segments = np.concatenate([np.concatenate(c.get_segments()) for c in axes.collections])
    for end in ([0.96, 71], [0.96, 77], [1.96, 75], [1.96, 81], [2.04, 53], [2.04, 59]):
        assert np.isclose(segments, end).all(1).any()
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2"]
    assert "to the first policy: 74.00 [71.00, 77.00] at round 1, 78.00" in panel.alt
    gold = by_key(records.history(20))["gold"]
    (axes,) = grid([gold], "t").axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["first", "3", "6", "9", "12", "15", "18"]
    assert "0.400 [0.380, 0.420] at first policy" in gold.alt


def test_the_pictures_are_written_side_by_side_and_each_for_itself(tmp_path):
    over = records.over(points=[], gold=None, proxy=None)
    history = records.history(rounds=[records.first_policy()], metrics=[], over=over)
    path = draw_history(history, tmp_path, "rlhf, embedded")
    assert path == tmp_path / "history.png"
    assert matplotlib.image.imread(path).shape[1] == round(3 * 4.6 * 110)
    (tmp_path / "report").mkdir()
    figures = draw_panels(history, "rounds", tmp_path / "report")
    assert [figure.file for figure in figures] == [
        "report-rounds-gold.png", "report-rounds-satisfaction.png", "report-rounds-lengths.png",
    ]  # fmt: skip
    assert all(figure.section == "rounds" and figure.alt for figure in figures)
    assert (tmp_path / "report" / figures[0].file).read_bytes() == figures[0].png


def test_the_panels_stand_in_rows_with_few_empty_places():
    def shape(panels):
        grids = {axes.get_gridspec() for axes in grid(panels, "t").axes}
        return next((one.nrows, one.ncols) for one in grids)

    one = by_key(records.history(rounds=[records.first_policy()]))["gold"]
    assert [shape([one] * count) for count in (1, 2, 3, 4, 5, 7, 9)] == [
        (1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (2, 4), (3, 3),
    ]  # fmt: skip


def test_lines_of_the_curves_break_where_a_stage_ends(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    kept = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: kept.append(self))
    monkeypatch.setattr("rlnlp.evaluate.curves.read_metrics", lambda _: list(records.metrics(2)))
    draw(tmp_path, "rlhf", {"heldout/gold": (0.4, 0.55)}, set(), 160)
    by_title = {axes.get_title(): axes for axes in kept[0].axes}
    norm = [line for line in by_title["gradient norm"].get_lines() if line.get_alpha() == 1]
    assert [line.get_xdata()[0] for line in norm] == [1, 41, 81, 121]
    assert len({line.get_color() for line in norm}) == 1
    gold = [line.get_xydata().tolist() for line in by_title["gold reward"].get_lines() if line.get_marker() == "o"]
    assert [points[0] for points in gold] == [[0, 0.4], [130, pytest.approx(0.445)]]
    assert gold[-1][-1] == [160, 0.55]
    score = by_title["score"]
    assert {"score", "held-out reward"} == set(lines(score))
    assert [line.get_xdata() for line in score.get_lines() if line.get_linestyle() == ":"] == [[81, 81]]
    assert all(axes.get_xlim() == (0, pytest.approx(163.2)) for axes in kept[0].axes)


def figures():
    estimate = Estimate
    return [
        Compared("satisfaction", estimate(5.1, (4.6, 5.6), 30), estimate(7.4, (7, 7.8), 30), "rated", (1, 10)),
        Compared("tone", estimate(0.3, (0.2, 0.4), 9), estimate(0.9, (0.8, 1.0), 9), "gold", (0, 1), 0.5),
        Compared("$cost$ \x1b[2J", estimate(0.5, (0.4, 0.6), 9), estimate(0.4, (-math.inf, math.inf), 1), "gold"),
        Compared("loss", estimate(-2.0, (-3, -1), 9), estimate(1.0, (0, 2), 9), "nats"),
    ]  # fmt: skip


def test_bars_have_their_values_and_intervals_and_those_of_a_unit_share_an_axis(tmp_path):
    canvas = before_after(figures(), "a $t$", ("before", "after"))
    rated, gold, nats = canvas.axes
    assert [bar.get_x() + bar.get_width() for bar in rated.patches] == pytest.approx([5.1, 7.4])
    assert [bar.get_x() for bar in rated.patches] == [1, 1]
    assert [bar.get_width() for bar in gold.patches] == pytest.approx([0.3, 0.5, 0.9, 0.4])
    assert [text.get_text() for text in gold.get_yticklabels()] == ["tone", r"\$cost\$ \x1b[2J"]
    ends = np.concatenate([np.concatenate(c.get_segments()) for c in gold.collections])
    for end in (0.2, 0.4, 0.8, 1.0):
        assert np.isclose(ends[:, 0], end).any()
    assert np.isfinite(ends).all()
    assert [line.get_xdata()[0] for line in gold.get_lines() if line.get_linestyle() == ":"] == [0.5]
    assert max(gold.get_xticks()) == 1
    assert [text.get_text() for text in rated.texts] == ["5.1", "7.4"]
    assert [text.get_text() for text in gold.texts] == ["0.30", "0.50", "0.90", "0.40"]
    assert nats.get_xlim()[0] == -3
    told = draw_before_after(figures(), "before\nand after", tmp_path / "bars.png", ("untrained", "trained"))
    assert told.startswith("before and after. satisfaction: untrained 5.1 [4.6, 5.6], trained 7.4 [7.0, 7.8] (rated);")
    assert "\x1b" not in told
    assert matplotlib.image.imread(tmp_path / "bars.png").shape[1] == 1080
    with pytest.raises(ValueError, match="no figure"):
        before_after([], "t", ("a", "b"))
