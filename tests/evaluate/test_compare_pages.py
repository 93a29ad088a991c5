"""What a comparison prints at each width, its Markdown and its spreadsheet: safe, whole, and readable."""

import csv
import io

import pytest
from rich.console import Console

from rlnlp.evaluate.compare.comparison import compare, gather
from rlnlp.evaluate.compare.pages import markdown, printed
from rlnlp.evaluate.compare.sheets import as_csv
from support.stored import stored_run, stored_sweep

RATES = {f"algo.learning_rate={rate}": (0.5 + i, 0.6 + i, 0.7 + i) for i, rate in enumerate(("1e-3", "3e-4"))}


def compared(*paths, **more):
    return compare(*gather(list(paths)), **more)


def lines(comparison, width=200, runs=False):
    console = Console(file=io.StringIO(), width=width)
    for part in printed(comparison, width, runs):
        console.print(part)
    return [line.rstrip() for line in console.file.getvalue().split("\n")]


def test_the_table_of_groups_is_that_of_a_paper(tmp_path):
    found = lines(compared(stored_sweep(tmp_path / "s", RATES)))
    assert found[:2] == [
        "6 runs, 2 groups of equal settings (all but the seed)",
        "what differs: learning_rate 0.001, 0.0003; seed 0, 1, 2",
    ]
    start = found.index("score of the responses to 3 held-out prompts: mean over seeds [95 % interval]")
    assert found[start + 1].split() == ["learning_rate", "seeds", "before", "after", "difference", "KL"]
    assert " ".join(found[start + 2].split()) == (
        "0.001 3 0.500 0.600 [0.352, 0.848] +0.100 [-0.148, +0.348] 2.00 worse than best"
    )
    assert found[start + 3].split()[-1] == "best"
    pairs = found.index("pairs of groups, the one with the better mean first")
    assert " ".join(found[pairs + 2].split()) == (
        "learning_rate=0.0003 learning_rate=0.001 +1.000 [+1.000, +1.000] <0.001 1.00 [1.00, 1.00] better"
    )


@pytest.mark.parametrize("width", [80, 100, 110, 200])
def test_every_figure_is_whole_at_every_width(width, tmp_path):
    found = lines(compared(stored_sweep(tmp_path / "s", RATES)), width, runs=True)
    assert max(map(len, found)) <= width
    text = "\n".join(found)
    for figure in ("[0.352, 0.848]", "[1.352, 1.848]", "+0.100", "[-0.148, +0.348]", "<0.001", "1.500"):
        assert figure in text


def test_of_many_pairs_those_with_the_best_are_shown_and_markdown_has_all(tmp_path):
    reached = {f"algo.batch_size={size}": (size / 10, size / 10 + 0.1) for size in (1, 2, 3, 4, 5)}
    comparison = compared(stored_sweep(tmp_path / "s", reached))
    text = "\n".join(lines(comparison))
    assert "the best group against each other one (4 of 10 pairs)" in text
    assert len([line for line in markdown(comparison).split("\n") if line.startswith("| batch\\_size=")]) == 10


def test_runs_of_one_seed_each_are_a_table_of_runs(tmp_path):
    for name, after in (("one", 0.6), ("two", 0.7)):
        stored_run(tmp_path / name, after, f"algo.batch_size={len(name) + int(after * 10)}")
    found = lines(compared(tmp_path / "one", tmp_path / "two"))
    start = found.index("score of the responses to 3 held-out prompts")
    assert " ".join(found[start + 2].split()) == "one 9 0.500 0.600 +0.100 [-0.000, +0.200] 2.00 61"
    assert found[start + 3].split()[-1] == "best"


def test_unfinished_runs_are_named_and_not_counted(tmp_path):
    whole = stored_run(tmp_path / "whole", 0.6)
    stored_run(tmp_path / "failed", None, "seed=1", status="failed", exit_code=8, steps=3)
    stored_run(tmp_path / "died", None, "seed=2", status="running", steps=0, curve=(0.5, 0.6))
    (tmp_path / "broken").mkdir()
    for name in ("config.yaml", "lock"):
        (tmp_path / "broken" / name).touch()
    comparison = compared(tmp_path)
    assert [run.directory for run in comparison.runs] == [whole]
    text = "\n".join(lines(comparison))
    for told in (
        "failed failed (exit 8) after step 3 of",
        "died interrupted after step 2 of",
        "broken run.json is missing",
    ):
        assert told in text


def test_text_of_the_user_s_is_neither_markup_nor_control(tmp_path):
    stored_run(tmp_path / "a", 0.6, "data.prompts=[red]x[/red]|<b>*", "data.heldout=h.jsonl")
    stored_run(tmp_path / "b", 0.7, "data.prompts='[/nothing]\x1b[2J'", "data.heldout=h.jsonl")
    comparison = compared(tmp_path)
    text = "\n".join(lines(comparison))
    assert "[red]x[/red]|<b>*" in text
    assert "\x1b" not in text
    document = markdown(comparison)
    assert "\\[red\\]x\\[/red\\]\\|\\<b\\>\\*" in document
    assert "\x1b" not in document


def test_a_spreadsheet_computes_nothing_and_numbers_stay_numbers(tmp_path):
    names = ["=1+1", "+1", "-a", "@sum", "plain"]
    for number, name in enumerate(names):
        stored_run(tmp_path / str(number), 0.4 + number / 100, f"data.prompts='{name}'", "data.heldout=h.jsonl")
    rows = list(csv.DictReader(io.StringIO(as_csv(compared(tmp_path)))))
    assert [row["data.prompts"] for row in rows] == ["'=1+1", "'+1", "'-a", "'@sum", "plain"]
    assert [float(row["after"]) for row in rows] == pytest.approx([0.4, 0.41, 0.42, 0.43, 0.44])
    assert rows[0]["difference"].startswith("-0.0")  # a number, not a text that is made harmless
    assert rows[0]["low"].startswith("-0.1")


def test_a_setting_that_a_run_does_not_have_is_an_empty_cell(tmp_path):
    stored_run(tmp_path / "0", 0.6, "algo.cliprange=0.1")
    stored_run(tmp_path / "1", 0.7, algo="reinforce")
    rows = list(csv.DictReader(io.StringIO(as_csv(compared(tmp_path)))))
    assert [row["algo.cliprange"] for row in rows] == ["0.1", ""]
