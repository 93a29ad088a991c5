"""The figures of a report show what the record says, in the picture and in words."""

import matplotlib.image
import numpy as np
import pytest

from rlnlp.evaluate.page import draw_figures, report_html, report_markdown
from rlnlp.evaluate.page import figures as drawing
from rlnlp.evaluate.page.html import data_uri
from support.evaluation import record, row


def labels(figure):
    """The names beside the axis, from below."""
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def test_the_frontier_is_drawn_over_the_root_of_the_kl_with_the_best_of_n():
    figure, alt = drawing.frontier(record())
    lines = {line.get_label(): line.get_xydata() for line in figure.axes[0].get_lines()}
    assert lines["trained policy, by step"] == pytest.approx(np.array([[1.2, 0.5], [2.0, 0.58]]))
    assert lines["best of n, first policy"][2] == pytest.approx([0.4319**0.5, 0.55])
    segments = np.concatenate([np.concatenate(c.get_segments()) for c in figure.axes[0].collections])
    for corner in ([1.2, 0.47], [1.2, 0.53], [1.1, 0.5], [1.3, 0.5]):
        assert np.isclose(segments, corner).all(1).any(), "both intervals, that of the KL under the root too"
    assert "step 20: KL 4.00, score 0.580" in alt
    assert "best of 3: KL 0.43, score 0.550" in alt


def test_the_boxes_differences_lengths_and_win_rates_are_those_of_the_record():
    whole = record()
    figure, alt = drawing.scores(whole)
    before, after = (np.ravel(whole["values"]["score"][side]) for side in ("before", "after"))
    means = {
        line.get_ydata()[0]: line.get_xdata()[0] for line in figure.axes[0].get_lines() if line.get_marker() == "D"
    }
    assert dict(zip(labels(figure), [means[1], means[2]], strict=True)) == pytest.approx(
        {"before": before.mean(), "after": after.mean()}
    )
    assert f"before: median {np.median(before):.3f}" in alt
    figure, alt = drawing.differences(whole)
    assert labels(figure) == ["politeness", "cheer", "brevity", "score"]
    assert "brevity -0.050 [-0.090, -0.010]" in alt
    figure, alt = drawing.lengths(whole)
    assert sum(patch.get_height() for patch in figure.axes[0].patches if hasattr(patch, "get_height")) == pytest.approx(
        200
    )
    assert f"after: median {np.median(whole['values']['length']['after']):.2f}" in alt
    figure, alt = drawing.win_rates(whole)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [
        "politeness",
        "length-controlled",
        "score",
    ]
    assert "by score 84 % [81 %, 87 %]; by score length-controlled 77 % [73 %, 80 %]" in alt


def test_the_agreement_of_a_judge_is_drawn_over_the_gap_with_its_interval():
    figure, alt = drawing.calibration(record())
    (container,) = figure.axes[0].containers
    assert container.lines[0].get_xydata() == pytest.approx(np.array([[0.05, 52], [0.31, 71]]))
    (bars,) = container.lines[2]
    assert np.stack(bars.get_segments())[1] == pytest.approx(np.array([[0.31, 66], [0.31, 75]]))
    assert "politeness 71 % [66 %, 75 %] at 0.310" in alt


def test_figures_lie_beside_the_report_and_the_curves_of_the_run_are_shown_too(tmp_path):
    run = tmp_path / "run"
    (run / "evaluations" / "other").mkdir(parents=True)
    (run / "curves.png").write_bytes(b"curves")
    names = {"$\\frac{1$ \x1b[2J \u4e16": row(0.3, 0.25, [-0.09, -0.01])}
    made = draw_figures(record(run=str(run), terms=names), run / "evaluations" / "other")
    assert [figure.file for figure in made] == [
        "report-scores.png", "report-differences.png", "report-lengths.png", "report-win-rates.png",
        "report-calibration.png", "report-frontier.png", "../../curves.png",
    ]  # fmt: skip
    for figure in made[:-1]:
        path = run / "evaluations" / "other" / figure.file
        assert path.read_bytes() == figure.png
        assert matplotlib.image.imread(path).shape[1] == 1080, "5.4 inches, 200 dots each"
    page = report_html(record(run=str(run)), made)
    assert page.count("data:image/png;base64,") == 7
    assert data_uri(b"curves") in page
    assert "](../../curves.png)" in report_markdown(record(run=str(run)), made)
