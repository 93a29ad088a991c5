"""The report of a reward model: the same words and figures on its page, in Markdown and in a terminal."""

import pytest

from evaluate.test_page import HOSTILE, MARKDOWN, cells, flat
from rlnlp.errors import one_line, safe_text
from rlnlp.evaluate.page.html import content_html
from rlnlp.evaluate.page.markdown import content_markdown
from rlnlp.evaluate.page.parts import sentence
from rlnlp.evaluate.preferences import figures as drawing
from rlnlp.evaluate.preferences import preference_record, reward_model_lines, write_preference_report
from rlnlp.evaluate.preferences.page import content
from rlnlp.rng import stream
from support.evaluation import parsed
from support.judgements import pairs, whole

HEADS = [
    "Is it better than rules that read nothing?", "Are its probabilities true?", "Where is it right?",
    "How much of the score is length?", "Would more labels help?", "How far do the annotators agree?",
    "Pairs that may be mislabelled", "Settings of the run", "What this does not show",
    "The command that made this report",
]  # fmt: skip


@pytest.fixture(scope="module")
def record():
    return whole()


def few(**more):
    heldout = pairs([1.0, -1.0, 2.0, 0.5])
    return preference_record(heldout, heldout.rows, stream(0, "report"), **more)


def page(record, figures=()):
    return parsed(content_html(content(record, figures)))


def test_it_begins_with_the_verdict_and_has_every_section_in_order(record):
    made = page(record)
    assert made.texts["h1"] == [f"Reward model: accuracy {_percent(record)} on 240 held-out pairs"]
    assert flat(made.texts["p"][0]) == sentence(record["verdict"])
    assert made.texts["h2"] == HEADS
    assert next(attrs for tag, attrs in made.tags if tag == "p")["class"] == "verdict good"


def _percent(record):
    low, high = record["accuracy_interval"]
    return f"{100 * record['accuracy']:.1f} % [{100 * low:.1f} %, {100 * high:.1f} %]"


def test_what_cannot_be_told_of_few_pairs_is_named_with_its_reason():
    made = page(few())
    assert made.texts["h2"] == [HEADS[0], HEADS[6], "What could not be measured, and why", HEADS[8]]
    assert "Calibration: 4 pairs, at least 20 are needed." in map(flat, made.texts["li"])
    assert len([text for text in made.texts["li"] if "are needed" in text]) == 4


def test_markdown_says_the_same(record):
    text = content_markdown(content(record, []))
    tokens = MARKDOWN.parse(text)
    heads = [tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open" and t.tag == "h2"]
    assert heads == page(record).texts["h2"]
    shown = set(map(flat, cells(text)))
    for each in record["baselines"]:
        ends = [f"{100 * end:+.1f}" for end in each["gain_interval"]]
        assert f"{100 * each['gain']:+.1f} [{', '.join(ends)}]".replace("+0.0", "0.0") in shown
    for point in record["reliability"]:
        assert str(point["n"]) in shown


def test_every_part_says_that_it_was_measured_on_training_pairs(tmp_path):
    told = whole(separate=False)
    figures = drawing.draw_figures(told, tmp_path)
    assert len(figures) == 5, "all but the learning curve"
    assert all("training pairs" in figure.alt and "held-out" not in figure.alt for figure in figures)
    made = content(told, figures)
    captions = [table.caption for section in made.sections for table in section.tables]
    assert len(captions) == 5
    assert all("training pairs" in caption for caption in captions)
    assert "all of them seen in training" in made.subtitle
    assert made.tone == "plain"
    assert "held-out" not in content_html(made)
    lines = [line.text for line in reward_model_lines(told)]
    assert lines[0].startswith("Not measured: its accuracy of ")
    assert not [line for line in lines if "held-out" in line or line.startswith("doubted")]


MARK = "%what a user wrote%"


@pytest.fixture(scope="module")
def marked():
    return whole(MARK, count=40)


def written(part, text):
    """The record with what a user wrote."""
    if isinstance(part, dict):
        return {written(key, text): written(value, text) for key, value in part.items()}
    if isinstance(part, list):
        return [written(each, text) for each in part]
    return part.replace(MARK, text) if isinstance(part, str) else part


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_are_shown_as_they_are(text, marked):
    told = written(marked, text)
    made, markdown = page(told), content_markdown(content(told, []))
    assert safe_text(told["mislabelled"][0]["chosen"]) in made.texts["pre"]
    assert safe_text(told["command"]) in made.texts["code"]
    assert [tag for tag, _ in made.tags] == [tag for tag, _ in page(marked).tags]
    assert one_line(told["mislabelled"][0]["prompt"], 4000) in [one_line(cell, 4000) for cell in cells(markdown)]
    assert not [token for token in MARKDOWN.parse(markdown) if token.type == "html_block"]
    lines = [line.text for line in reward_model_lines(told)]
    assert all(line == safe_text(line) and "\n" not in line for line in lines)
    assert f"better  {one_line(told['mislabelled'][0]['chosen'], 200)}" in lines


def test_a_report_is_written_with_its_figures_beside_it(record, tmp_path):
    path = write_preference_report(record, tmp_path / "new")
    assert path == tmp_path / "new" / "report.html"
    names = [name for _, name, _, _ in drawing.DRAWN]
    assert sorted(each.name for each in path.parent.iterdir()) == sorted(["report.html", "report.md", *names])
    assert path.read_text(encoding="utf-8").count("data:image/png") == 6


def test_the_figures_show_what_the_record_holds(record):
    figure, alt = drawing.baselines(record)
    bars = sorted(bar.get_width() for bar in figure.axes[0].patches)
    values = [record["accuracy"], *(each["accuracy"] for each in record["baselines"])]
    assert bars == pytest.approx(sorted(100 * value for value in values))
    assert f"the model {_percent(record)}" in alt
    figure, _ = drawing.reliability(record)
    assert list(figure.axes[0].lines[1].get_xdata()) == [100 * p["confidence"] for p in record["reliability"]]
    assert list(figure.axes[0].lines[1].get_ydata()) == [100 * p["accuracy"] for p in record["reliability"]]
    figure, _ = drawing.learning_curve(record)
    assert list(figure.axes[0].lines[0].get_xdata()) == [25, 50, 100, 200]
    figure, _ = drawing.cloud(record)
    right, wrong = figure.axes[0].collections
    assert len(right.get_offsets()) + len(wrong.get_offsets()) == 240
    assert min(right.get_offsets()[:, 1]) > 0 >= max(wrong.get_offsets()[:, 1])


def test_a_record_of_little_has_no_figures_but_the_one_of_the_baselines():
    drawn = [name for _, name, _, draw in drawing.DRAWN if draw(few()) is not None]
    assert drawn == ["report-baselines.png"]
    assert not [name for _, name, _, draw in drawing.DRAWN if draw(_nothing()) is not None]


def _nothing():
    return preference_record(pairs([]), [], stream(0, "report"))


def test_the_short_of_it_says_what_came_of_it_in_a_few_lines(record):
    lines = [line.text for line in reward_model_lines(record)]
    assert lines[0] == sentence(record["verdict"])
    assert lines[1] == (
        "Trained on 200 pairs of 200 prompts; measured on 240 pairs of 120 prompts, none of them seen in training."
    )
    assert [line.split("  ")[0] for line in lines[3:4]] == ["accuracy"]
    assert len(lines) < 25
    text = "\n".join(lines)
    for word in ("Calibration error 0.", "Correlation of score and length ", "Learning curve over 25, 50, 100, 200"):
        assert word in text
    assert next(line.text for line in reward_model_lines(_nothing())).startswith("Nothing is measured")


def test_cross_validation_is_told_with_its_own_verdict(record):
    folds = few()
    told = {**record, "cross_validation": {**folds, "folds": 5}}
    how = "Cross-validation, every pair scored by one of 5 models that were not trained on it: accuracy 75.0 %"
    made = content(told, [])
    (sentence_of,) = made.sections[0].paragraphs
    assert sentence_of.startswith(f"{how} [0.0 %, 100.0 %] on 4 pairs. Not shown: it may be no better than")
    assert made.sections[0].tables[1].caption == "On all 4 pairs, each by a model that was not trained on it"
    assert how in _text(told)
    assert how not in _text(record)


def test_a_model_that_is_too_sure_is_told_so():
    sure = preference_record(pairs([4.0, 4.0, -4.0] * 20), [], stream(0, "report"))
    assert "it is too sure (mean confidence 98.2 %, right in 66.7 %)" in _text(sure)
    timid = preference_record(pairs([0.1, 0.1, -0.1] * 20), [], stream(0, "report"))
    assert "it is less sure than it may be (mean confidence 52.5 %, right in 66.7 %)" in _text(timid)


def _text(record):
    return "\n".join(line.text for line in reward_model_lines(record))
