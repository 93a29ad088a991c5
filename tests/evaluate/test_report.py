"""The report at the end: lines, Markdown and curves show what the figures are, whatever the texts hold."""

import io
import json
import re
from collections import namedtuple

import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from rich.console import Console

from rlnlp.commands.preflight import parse_run_config
from rlnlp.errors import one_line
from rlnlp.evaluate.curves import draw
from rlnlp.evaluate.report import cost, print_lines, title, unweighted
from rlnlp.evaluate.summary import FILES, Report, aligned, escaped, fenced, markdown, report_lines, table_row
from rlnlp.run.progress import Seconds
from support import runs

NASTY = [
    "a | b", "*bold* _it_ __x__", "`code` ``x``", "<script>alert(1)</script>", "[link](http://evil)", "![i](x)",
    "# head", "- item", "1. item", "\\ back\\slash", "~~gone~~", "&amp; &lt;", "$x^2$", "http://evil www.evil.com",
    "me@evil.com", "two\nlines\n\n# and a head", "\x1b[2J\u202eesrever", "> quote", "---", "```\nfence", "<!-- x -->",
]  # fmt: skip
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def report(**changes):
    fields = {
        "title": "ppo, embedded: held-out score 0.500 → 0.750", "measured": "held-out prompts: 4",
        "rows": [table_row("score", 0.5, 0.75, 0.25, [0.1, 0.4]), table_row("  term", 0.5, 0.5, 0.0, None)],
        "notes": ["a note"], "warnings": ["raise algo.kl_coef"], "samples": [("the film", "is bad", "is good")],
        "commands": ["rlnlp generate RUN 'the film'", "rlnlp evaluate RUN"],
    }  # fmt: skip
    return Report(**(fields | changes))


def cells(tokens):
    """The text that a reader sees in each cell of the tables; fails for markup inside a cell."""
    for i, token in enumerate(tokens):
        if token.type in ("th_open", "td_open"):
            kinds = {child.type for child in tokens[i + 1].children}
            assert kinds <= {"text", "text_special", "html_inline"}, tokens[i + 1].content
            assert all(child.content == "<br>" for child in tokens[i + 1].children if child.type == "html_inline")
            yield "".join(child.content for child in tokens[i + 1].children if child.type != "html_inline")


@pytest.mark.parametrize("text", NASTY)
def test_whatever_a_model_wrote_is_text_in_the_markdown(text):
    seen = one_line(text)
    nasty = report(samples=[(text, text, text)], warnings=[text], title=text)
    whole = markdown(nasty, {"model": seen}, "took a second")
    tokens = MARKDOWN.parse(whole)
    assert list(cells(tokens)).count(seen) == 4
    assert "".join(child.content for child in tokens[1].children) == seen
    assert sum(token.type == "heading_open" for token in tokens) == 5
    assert {"html_block", "blockquote_open"} & {token.type for token in tokens} == set()
    assert "\x1b" not in whole
    assert "\u202e" not in whole


def test_no_address_in_a_text_becomes_a_link():
    assert escaped("http://x me@x www.x") == r"http\://x me\@x www\.x"


def test_the_markdown_has_every_part_in_its_place():
    tokens = MARKDOWN.parse(markdown(report(), {"model": "embedded", "schedule": "one\ntwo"}, "took 3 seconds"))
    heads = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert heads == [report().title, "Samples", "The run", "Files", "Next"]
    assert list(cells(tokens)) == [
        "", "before", "after", "difference [95 % interval]", "score", "0.500", "0.750", "+0.250 [+0.100, +0.400]",
        "term", "0.500", "0.500", "+0.000", "prompt", "before", "after", "the film", "is bad", "is good", "", "",
        "model", "embedded", "schedule", "onetwo",
    ]  # fmt: skip
    (fence,) = [token for token in tokens if token.type == "fence"]
    assert fence.content == "rlnlp generate RUN 'the film'\nrlnlp evaluate RUN\n"
    paragraphs = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "paragraph_open"]
    assert {"held-out prompts: 4", "a note", "**Warning:** raise algo.kl\\_coef", "took 3 seconds"} <= set(paragraphs)
    (block,) = [token for token in MARKDOWN.parse(fenced("a ``` b\n````\nc")) if token.type == "fence"]
    assert block.content == "a ``` b\n````\nc\n"


def test_the_lines_have_every_part_and_figures_stand_below_each_other(tmp_path):
    lines = [line.text for line in report_lines(report(), tmp_path, "took 3 seconds")]
    assert lines[:6] == [
        "held-out prompts: 4",
        "        before  after  difference [95 % interval]",
        "score    0.500  0.750  +0.250 [+0.100, +0.400]",
        "  term   0.500  0.500  +0.000",
        "a note",
        "warning: raise algo.kl_coef",
    ]
    assert lines[6:9] == ["prompt  the film", "before  is bad", "after   is good"]
    assert lines[-2:] == ["next: rlnlp generate RUN 'the film'", "      rlnlp evaluate RUN"]
    assert [line.split()[0] for line in lines if line.startswith("  ") and "  " in line.strip()][-5:] == list(FILES)
    wide = aligned([("", "b", "a", "d"), ("  界界", "1", "2", "3"), ("x", "1", "2", "3")])
    assert wide == ["        b  a  d", "  界界  1  2  3", "x       1  2  3"]


def test_nothing_is_broken_in_a_pipe_and_a_terminal_breaks_samples_between_words(tmp_path):
    long = " ".join(f"word{i}" for i in range(50))
    lines = report_lines(report(samples=[(long, long, "[red]x")]), tmp_path, "took 3 seconds")
    pipe, colored, terminal = io.StringIO(), io.StringIO(), io.StringIO()
    print_lines(Console(file=pipe, width=80, highlight=False), lines)
    assert pipe.getvalue().split("\n")[:-1] == [line.text for line in lines]
    print_lines(Console(file=colored, width=80, force_terminal=True, _environ={}), lines)
    assert colored.getvalue().count("\n") == len(lines), "colors that are forced make no terminal of a pipe"
    terminal.isatty = lambda: True
    print_lines(Console(file=terminal, width=60, force_terminal=True, _environ={}), lines)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).split("\n")
    start = shown.index(next(line for line in shown if line.startswith("before  word0")))
    broken = [line for line in shown[start + 1 : start + 9] if line.startswith(" " * 8)]
    assert len(broken) > 3
    assert all(len(line) <= 60 and line[8] != " " for line in broken)
    assert " ".join(line[8:] for line in shown[start : start + 1 + len(broken)]) == long
    assert "after   [red]x" in shown
    colors = {code for group in re.findall(r"\x1b\[([0-9;]+)m", terminal.getvalue()) for code in group.split(";")}
    assert colors <= {"0", "1", "35"}, "plain, bold, magenta: readable on a dark and on a light background"


def test_the_title_says_what_was_trained_and_what_came_of_it():
    config = parse_run_config(runs.settings(["algo=ppo"]))
    assert title(config, "held-out score", 0.5, 0.75) == "ppo, embedded: held-out score 0.500 → 0.750"
    fresh = parse_run_config(runs.settings(["algo=sft", "model=fresh"]))
    assert title(fresh, "loss", 2, 1) == "sft, a fresh model: loss 2.000 → 1.000"


def test_the_cost_counts_what_came_before_a_resume_and_the_memory_of_each_device():
    def cost_of(seconds, **memory):
        return cost(namedtuple("FakeRun", "seconds")(lambda: seconds), memory)

    assert cost_of(Seconds(41.2, 41.2, 38.0), process=2**29) == (
        "took 41 seconds, 38 seconds of training; peak memory 512.0 MiB"
    )
    assert cost_of(Seconds(12.0, 600.0, 500.0), process=2**30, cuda=3 * 2**30) == (
        "took 12 seconds, 10 minutes with what came before, 8 minutes of training; peak memory 1.0 GiB, 3.0 GiB on cuda"
    )


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn."""
    made = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **kwargs: made.append(self) or save(self, *args, **kwargs)
    )
    return made


def curves(tmp_path, rows, *more):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = draw(tmp_path, *more)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def panel(figure, name):
    (axes,) = [axes for axes in figure.axes if axes.get_title() == name]
    return {line.get_label(): line for line in axes.lines}


def test_the_curves_have_a_title_a_smoothed_line_over_the_raw_one_and_dashes_for_weight_0(tmp_path, figures):
    names = ("score", "score/a", "score/b", "kl", "explained_variance", "clip_fraction", "approx_kl", "entropy")
    rows = [{"step": i, **{name: float(i % 2) for name in names}} for i in range(1, 61)]
    ends = {"heldout/score": (0.2, 0.8), "heldout/kl": (0.0, 2.0)}
    curves(tmp_path, rows, "ppo, $x^$: score", ends, {"b"}, 60)
    (figure,) = figures
    assert figure.get_suptitle() == "ppo, $x^$: score"
    assert {"explained variance", "clip fraction", "approx. KL of the updates, nats per token"} <= {
        axes.get_title() for axes in figure.axes
    }
    score = panel(figure, "score")
    assert (score["a"].get_linestyle(), score["b"].get_linestyle()) == ("-", "--")
    smooth, raw = score["score"].get_ydata(), [line for line in score.values() if line.get_alpha() == 0.3]
    assert 0.3 < min(smooth[5:-5]) <= max(smooth[5:-5]) < 0.7
    assert {float(y) for line in raw for y in line.get_ydata()} == {0.0, 1.0}
    held = score["held-out score"]
    assert (list(held.get_xdata()), list(held.get_ydata())) == ([0, 60], [0.2, 0.8])


def test_the_curves_of_sft_have_the_held_out_loss_from_before_to_after(tmp_path, figures):
    rows = [{"step": i, "loss": 2.0, **({"heldout/loss": 1.0 + i} if i in (5, 10) else {})} for i in range(1, 11)]
    for step, values in ((10, [3.0, 6.0, 0.5]), (5, [3.0, 0.5, 11.0])):  # the step whose weights are the result
        curves(tmp_path, rows, "sft", {"heldout/loss": (3.0, 0.5)}, set(), step)
        held = panel(figures.pop(), "loss")["held-out loss"]
        assert (list(held.get_xdata()), list(held.get_ydata())) == ([0, 5, 10], values)


@pytest.mark.parametrize("name", ["$\\frac{$", "_hidden", "界", "a\nb", "[red]", "<b>"])
def test_a_term_of_any_name_can_be_drawn_and_is_in_the_legend(name, tmp_path, figures):
    rows = [{"step": i, "score": 0.5, f"score/{name}": 0.5} for i in range(1, 4)]
    curves(tmp_path, rows, name, {"heldout/score": (0.1, 0.2)}, {name}, 3)
    (legend,) = [axes.get_legend() for axes in figures[0].axes if axes.get_legend()]
    assert name in [text.get_text().strip() for text in legend.get_texts()]


def test_the_terms_of_weight_0_are_those_that_are_dashed():
    config = parse_run_config(runs.settings(["algo=ppo", "+reward.terms.seen={fn: length, weight: 0}"]))
    assert unweighted(config) == {"seen"}
    assert unweighted(parse_run_config(runs.settings(["algo=sft"]))) == set()
