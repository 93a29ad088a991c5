"""The report of an evaluation: its words and figures, the same in HTML and Markdown, whatever the texts hold."""

import html
import itertools
import re

import pytest
from markdown_it import MarkdownIt

from rlnlp.errors import one_line, safe_text
from rlnlp.evaluate.page import figures as drawing
from rlnlp.evaluate.page import report_html, report_markdown, verdict_sentence
from rlnlp.evaluate.page.html import data_uri
from rlnlp.evaluate.page.numbers import interval, number, p_value, percent, percents, places, row_places, signed
from support.evaluation import pair, parsed, record, row

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HEADS = [
    "What changed", "How often it wins", "Does the judge agree with the reward?", "Score against KL",
    "Where it got worse", "Where it got better", "Settings of the run", "What this does not show",
    "The command that made this report",
]  # fmt: skip
HOSTILE = [
    "<script>document.title='x'</script>", "</style><img src=http://evil/x.png onerror=alert(1)>", "{{ 7*7 }}{% raw %}",
    "*bold* `code` | [a](http://evil)", "\x1b[2J\x00\x07bell", "\u202eesrever\u200f", '" onload="alert(1)', "&amp;&lt;",
    "</pre></td></table><h2>mine</h2>", "-->", "$x^2$", "# head\n- item",
]  # fmt: skip


def flat(text):
    """Text as a reader sees it: runs of white space are one space."""
    return " ".join(text.split())


def cells(text):
    """The text of each cell of the tables of a Markdown document."""
    tokens = MARKDOWN.parse(text)
    for i, token in enumerate(tokens):
        if token.type in ("th_open", "td_open"):
            yield "".join("\n" if child.type == "html_inline" else child.content for child in tokens[i + 1].children)


def rows_of(page):
    """The rows of a page's tables, each a list of texts."""
    return [
        [
            flat(html.unescape(re.sub("<[^>]*>", "", cell)))
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
        ]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.S)
    ]


def test_the_verdict_is_one_plain_sentence():
    assert verdict_sentence(record()) == (
        "The trained policy is better: its mean score is 0.580, 0.170 above the 0.410 of the first policy"
        " (95 % interval [+0.150, +0.190])."
    )
    worse = record(score=row(0.5, 0.4, [-0.15, -0.05]), verdict="worse", against="references")
    assert verdict_sentence(worse) == (
        "The trained policy is worse: its mean score is 0.400, 0.100 below the 0.500 of the reference texts"
        " (95 % interval [-0.150, -0.050])."
    )
    unclear = record(score=row(0.5, 0.51, [-0.02, 0.04]), verdict="no difference shown")
    assert verdict_sentence(unclear) == (
        "No difference shown: the mean score of the trained policy is 0.510, that of the first policy 0.500; a"
        " difference of +0.010 (95 % interval [-0.020, +0.040]) may be chance."
    )
    assert verdict_sentence(record(score=None)) == ""


def test_the_page_begins_with_the_verdict_and_has_every_section_in_order():
    page = parsed(report_html(record(), []))
    assert page.texts["h1"] == ["ppo, embedded: held-out score 0.410 → 0.580"]
    assert page.texts["h2"] == HEADS
    assert flat(page.texts["p"][0]) == verdict_sentence(record())
    assert next(attrs for tag, attrs in page.tags if tag == "p")["class"] == "verdict good"
    assert "120 responses, 3 prompts seen in training" in report_html(record(seen_in_training=3), [])
    assert 'class="verdict bad"' in report_html(record(verdict="worse"), [])
    assert 'class="verdict plain"' in report_html(record(verdict="no difference shown"), [])
    assert [flat(text) for text in page.texts["dd"][:8]] == [
        "0.410 → 0.580", "+0.170 [+0.150, +0.190]", "84 %", "[81 %, 87 %]", "4.21", "[3.90, 4.52] nats per response",
        "40", "120 responses",
    ]  # fmt: skip


def test_every_measure_has_its_row_with_interval_and_p():
    page = rows_of(report_html(record(), []))
    for wanted in (
        ["", "before", "after", "difference [95 % interval]", "p"],
        ["score", "0.410", "0.580", "+0.170 [+0.150, +0.190]", "0.0001"],
        ["terms of the reward"],
        ["brevity", "0.300", "0.250", "-0.050 [-0.090, -0.010]", "0.022"],  # p corrected by Holm
        ["cheer of 37 prompts", "0.500", "0.510", "+0.010 [-0.020, +0.040]", "0.500"],
        ["politeness", "0.610", "0.640", "+0.030 [+0.010, +0.050]", "0.031"],
        ["length tokens", "12.50", "17.25", "+4.75 [+4.10, +5.20]", "0.031"],
        ["distinct-1 fraction of the words", "0.810", "0.710", "-0.100 [-0.120, -0.080]", "0.031"],
        ["KL nats per response, from the first policy", "–", "4.21 [3.90, 4.52]", "–", "–"],
        ["by", "win rate [95 % interval]", "length-controlled"],
        ["score 2 % ties", "84 % [81 %, 87 %]", "77 % [73 %, 80 %]"],
        ["politeness", "52 % [48 %, 56 %]",
         "– not shown: the response before is the longer one in fewer than 10 % of the pairs"],
        ["gap of the score, about", "the judge agrees [95 % interval]", "pairs"],
        ["0.310", "71 % [66 %, 75 %]", "1,198"],
        ["step 10", "1.44 [1.21, 1.69]", "0.500 [0.470, 0.530]"],
        ["best of 2", "0.19 at most", "0.500 [0.480, 0.520]", "0.620"],
        ["score", "0.500", "0.190", "-0.310"],
        ["brevity", "–", "0.250", "–"],
    ):  # fmt: skip
        assert wanted in page


def test_color_says_better_or_worse_only_where_the_interval_shows_it_and_higher_is_better():
    page = report_html(
        record(regressions=None, improvements=None, win_rates=None, frontier=None, best_of_n=None, calibration=None), []
    )
    tones = {}
    for each in re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.S):
        name, classes = re.findall(r"<th[^>]*>([^\s<]+)", each), re.findall(r'<td role="cell" class="(\w+)', each)
        tones |= {name[0]: classes[2]} if classes else {}
    assert tones == {
        "score": "good", "brevity": "bad", "cheer": "plain", "politeness": "good", "length": "plain",
        "distinct-1": "plain", "KL": "plain",
    }  # fmt: skip


def test_markdown_has_the_same_content_as_the_page():
    made = [drawing.Figure("wins", "report-win-rates.png", "Win rates", "by score 84 %", b"png")]
    page, text = report_html(record(), made), report_markdown(record(), made)
    tokens = MARKDOWN.parse(text)
    heads = [tokens[i + 1].children for i, each in enumerate(tokens) if (each.type, each.tag) == ("heading_open", "h2")]
    assert ["".join(child.content for child in head) for head in heads] == HEADS
    seen = parsed(page)
    in_page = {flat(cell) for each in rows_of(page) for cell in each} - {""}
    in_text = {flat(cell) for cell in cells(text)}
    missing = {cell for cell in in_page if cell not in in_text} - {
        "cheer of 37 prompts",
        "length tokens",
        "distinct-1 fraction of the words",
        "score 2 % ties",
        "KL nats per response, from the first policy",
    }  # the note of a name stands in brackets in Markdown
    assert not missing
    whole = "".join(child.content for token in tokens for child in (token.children or []))
    for paragraph in [*seen.texts["p"], *seen.texts["li"]]:
        assert flat(paragraph) in flat(whole) or paragraph == "(nothing)"
    assert "![by score 84 %](report-win-rates.png)" in text
    assert {"the film was", "great fun", "good good", "cold\nand dark", "lovely"} <= set(cells(text))
    assert {"the film was", "great fun", "good good", "cold\nand dark", "lovely"} <= set(seen.texts["pre"])
    (fence,) = [token for token in tokens if token.type == "fence"]
    assert fence.content.strip() == seen.texts["code"][0] == record()["command"]


@pytest.mark.parametrize(
    ("absent", "head"),
    [
        ("win_rates", "How often it wins"), ("calibration", "Does the judge agree with the reward?"),
        ("regressions", "Where it got worse"), ("settings", "Settings of the run"),
        ("improvements", "Where it got better"), ("not_shown", "What this does not show"),
        ("command", "The command that made this report"),
    ],
)  # fmt: skip
def test_what_there_are_no_data_of_is_left_out(absent, head):
    for without in (record(**{absent: None}), record(**{absent: type(record()[absent])()})):
        assert parsed(report_html(without, [])).texts["h2"] == [each for each in HEADS if each != head]
        assert f"## {head}" not in report_markdown(without, [])


def test_a_record_of_hardly_anything_makes_a_report_too():
    bare = {"run": "outputs/sft/a-run", "against": "the first policy", "n": 3, "prompts": 3, "samples": 1}
    bare["measures"] = {"perplexity": row(30.0, 20.0, None, p=None, n=3)}
    page = report_html(bare, [])
    assert parsed(page).texts["h1"] == ["Evaluation of outputs/sft/a-run"]
    assert parsed(page).texts["h2"] == ["What changed"]
    assert ["perplexity", "30.00", "20.00", "-10.00", "–"] in rows_of(page)
    assert "verdict" not in page.split("</style>")[1]
    assert [draw(bare) for _, _, _, draw in drawing.DRAWN] == [None] * 6


def test_a_record_of_texts_and_their_loss_makes_a_report_in_which_lower_is_better():
    loss = record(
        score=None, terms=None, judges=None, measures=None, kl=None, win_rates=None, calibration=None, frontier=None,
        best_of_n=None, regressions=None, improvements=None, values=None, win_rate=None, samples=1, seen_in_training=0,
        loss=row(2.5, 2.1, [-0.45, -0.35], unit="nats per token"), perplexity={"before": 12.18, "after": 8.17},
        worst_texts=[{"prompt": "the", "completion": " film\nis", "before": 1.0, "after": 1.5, "difference": 0.5},
                     {"prompt": "", "completion": "a room", "before": 1.0, "after": 1.25, "difference": 0.25}],
    )  # fmt: skip
    assert verdict_sentence(loss) == (
        "The trained policy is better: its mean loss on these texts is 2.100, 0.400 below the 2.500 of the first policy"
        " (95 % interval [-0.450, -0.350])."
    )
    page = report_html(loss, [])
    assert '<td role="cell" class="good">-0.400' in page
    assert ["loss", "1.000", "1.500", "+0.500"] in rows_of(page)
    seen = parsed(page)
    assert seen.texts["pre"] == ["the", " film\nis", "a room", loss["command"]]
    assert [flat(text) for text in seen.texts["dd"][:6]] == [
        "2.500 → 2.100", "-0.400 [-0.450, -0.350]", "12.18 → 8.17", "of a token, exp(loss)", "40",
        "no text seen in training",
    ]  # fmt: skip
    assert "Texts that became less likely" in seen.texts["h2"]
    assert {"the", "film\nis", "a room"} <= {cell.strip() for cell in cells(report_markdown(loss, []))}


def test_a_pair_of_texts_is_shown_as_it_is_and_an_empty_response_is_named():
    page = report_html(record(improvements=[pair("  two\n\n lines", "\ttab", "", 0.5)]), [])
    assert {"  two\n\n lines", "\ttab"} <= set(parsed(page).texts["pre"])
    assert page.count("(nothing)") == 2
    long = "x" * 5000
    cut = report_html(record(improvements=[pair(long, "", "", 1)]), [])
    assert f">{'x' * 4000}… (1,000 more characters)</pre>" in cut


def with_texts(text):
    """A record in which whatever a model or a user may have written is ``text``."""
    rate = {"win_rate": 0.6, "win_rate_interval": [0.5, 0.7], "length_controlled": None}
    return record(
        title=text, run=text, notes=[text], not_shown=[text], settings={text: text}, command=text,
        terms={text: row(0.3, 0.25, [-0.09, -0.01])}, judges={text: row(0.1, 0.2, [0, 0.3])}, win_rates={text: rate},
        regressions=[pair(text, text, text, -0.4)],
    )  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_model_or_a_user_wrote_is_text_in_both_forms(text):
    nasty, harmless = with_texts(text), with_texts("x")
    plain = parsed(report_html(harmless, []))
    page = parsed(report_html(nasty, []))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags], "no tag and no end of one comes from a text"
    assert [sorted(attrs) for _, attrs in page.tags] == [sorted(attrs) for _, attrs in plain.tags]
    assert page.texts["pre"].count(safe_text(text)) == 4, "prompt, before, after, command"
    assert page.texts["h1"] == [one_line(text)]
    assert {one_line(text), safe_text(text)} & set(page.texts["dt"])
    markdown = report_markdown(nasty, [])
    assert [token.tag for token in MARKDOWN.parse(markdown) if token.type == "heading_open"].count("h1") == 1
    assert {"html_block", "blockquote_open"} & {token.type for token in MARKDOWN.parse(markdown)} == set()
    assert [c for c in cells(markdown) if flat(c.replace("\n", " ")) == one_line(text)], "in the tables, with its lines"
    for whole in (report_html(nasty, []), markdown):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200f\u202e]", whole)


def test_the_page_asks_for_nothing_and_runs_nothing():
    figure = drawing.Figure("changes", "report-scores.png", "Scores", "alt", b"\x89PNG")
    page = report_html(record(), [figure])
    tags = parsed(page).tags
    assert not {tag for tag, _ in tags} & {"script", "iframe", "object", "form", "a", "base", "video"}
    assert not re.search(r"url\(|@import|http:|https:|//", page.replace("data:image/png;base64,", ""))
    policy = [attrs["content"] for tag, attrs in tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert [attrs["src"] for tag, attrs in tags if tag == "img"] == [data_uri(b"\x89PNG")]


def test_a_screen_reader_finds_its_way():
    made = [drawing.Figure("curves", "curves.png", "Curves", "metrics over steps", b"png", wide=True)]
    tags = parsed(report_html(record(), made)).tags
    heads = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert heads[0] == 1
    assert heads.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(heads)), "no level is left out"
    names = [tag for tag, _ in tags]
    assert ("html", {"lang": "en"}) in tags
    assert names.count("table") == names.count("caption") > 3
    assert all(attrs["alt"] for tag, attrs in tags if tag == "img")
    assert all("scope" in attrs for tag, attrs in tags if tag == "th")
    labelled = [attrs["aria-labelledby"] for tag, attrs in tags if tag == "section"]
    assert labelled == [attrs["id"] for tag, attrs in tags if tag == "h2"]


def test_colors_have_contrast_in_light_and_dark_and_on_paper():
    style = report_html(record(), []).split("<style>")[1].split("</style>")[0]
    schemes = [dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)]
    assert len(schemes) == 3
    for scheme in schemes:
        for ink, grounds in {
            "ink": ("page", "card", "plain-back", "good-back", "bad-back"), "soft": ("page", "card"), "good": ("card",),
            "bad": ("card",),
        }.items():  # fmt: skip
            for ground in grounds:
                assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground)
    assert contrast("#57606a", "#ffffff") >= 4.5, "below a figure"


def contrast(one, other):
    """WCAG 2.1, relative luminance."""

    def luminance(color):
        digits = color[1:] if len(color) == 7 else "".join(2 * c for c in color[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_best_of_n_that_scores_as_high_is_named():
    def page(after):
        return report_html(record(score=row(0.41, after, [0.1, 0.2])), [])

    first, high = "of the first policy", "scores at least as high as the trained policy"
    assert f"score of 0.580 is above the best of 3 samples {first}, 0.550." in page(0.58)
    assert f"The best of 2 samples {first} {high}: 0.500, against 0.500." in page(0.5)
    assert f"A single sample {first} {high}: 0.410, against 0.300." in page(0.3)


def test_figures_are_written_as_people_read_them():
    assert [places(x) for x in (0, 0.004, 0.5, -12.3, 123.0, 5000)] == [3, 5, 3, 2, 1, 0]
    assert [number(None), number(0.12345), number(1234.5, 1), signed(0.1), signed(-0.1)] == [
        "–", "0.123", "1,234.5", "+0.100", "-0.100",
    ]  # fmt: skip
    assert [interval(None), interval([0.1, 0.2]), interval([-0.1, 0.2], 1, sign=True)] == [
        "",
        "[0.100, 0.200]",
        "[-0.1, +0.2]",
    ]
    assert [percent(x) for x in (0.844, 0, 1, 0.999, 0.001, None)] == ["84 %", "0 %", "100 %", "99.9 %", "0.1 %", "–"]
    assert row_places(row(0.5, 0.6, [0.05, 0.15])) == 3
    assert row_places(row(0.5, 0.6, None)) == row_places(row(0.5, 0.5, [0.0, 0.0])) == 3
    assert row_places(row(0.5, 0.502, [-0.0003, 0.004])) == 4, "an end of -0.000 would say nothing"
    assert row_places(row(0.5, 0.5 + 1e-9, [-1e-9, 1e-9])) == 5
    assert percents([0.81, 0.87]) == "[81 %, 87 %]"
    assert [p_value(x) for x in (0.0001, 0.00988, 0.0312, 1, None)] == ["0.0001", "0.0099", "0.031", "1.000", "–"]
