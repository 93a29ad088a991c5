"""What an evaluation has found: the short of it for a terminal, and the report with its figures."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from rlnlp.errors import counted, one_line
from rlnlp.evaluate.page import draw_figures, verdict_sentence
from rlnlp.evaluate.page.content import content
from rlnlp.evaluate.page.files import write_content
from rlnlp.evaluate.page.numbers import interval, p_value, percent, percents
from rlnlp.evaluate.page.parts import Content, sentence
from rlnlp.evaluate.report import print_lines
from rlnlp.evaluate.rounds.page import SECTION, rounds_section, stored_history
from rlnlp.evaluate.rounds.pictures import draw_panels
from rlnlp.evaluate.summary import LABEL, RESPONSE, STRONG, TEXT, WARNING, Line, aligned, table_row

HEAD = ("", "before", "after", "difference [95 % interval]")
NAMES = {
    "length": "length, tokens", "distinct_1": "distinct words", "distinct_2": "distinct word pairs",
    "repetition": "repeated 3-grams", "perplexity": "perplexity, first policy", "rouge_l": "ROUGE-L", "ended": "ended",
}  # fmt: skip
REGRESSIONS = 2  # shown in a terminal


def printed(record: dict[str, Any]) -> None:
    """Print the short of it to stdout."""
    print_lines(Console(file=sys.stdout, highlight=False), list(lines(record)))


def lines(record: dict[str, Any]) -> Iterator[Line]:
    """The verdict, the table of measures, the win rates, the baselines and the worst regressions."""
    yield Line(verdict_sentence(record), STRONG)
    yield Line(measured_on(record), "", 2)
    yield from map(Line, aligned([HEAD, *(_row(name, row) for name, row in rows_of(record))]))
    if record.get("kl") is not None:
        ends = _behind(interval(record["kl_interval"], 2))
        yield Line(f"KL {record['kl']:.2f}{ends} nats per response from the first policy")
    for name, rate in record.get("win_rates", {}).items():
        yield Line(wins_text(name, rate), "", 2)
    if len(record.get("best_of_n", [])) > 1:
        yield Line(best_of_text(record), "", 2)
    for note in record["notes"]:
        yield Line(sentence(note), "", 2)
    for pair in record.get("regressions", [])[:REGRESSIONS]:
        yield Line(f"worse   {one_line(pair['prompt'], TEXT)}  ({pair['difference']:+.3f})", STRONG, LABEL)
        yield Line(f"before  {one_line(pair['before'], RESPONSE)}", "", LABEL)
        yield Line(f"after   {one_line(pair['after'], RESPONSE)}", "", LABEL)
    for limit in record["not_shown"][:1]:
        yield Line(f"not shown: {limit}", WARNING, 2)
    yield Line("")
    yield Line(f"report: {record['report']} (all of it; also report.md beside it)")


def rows_of(record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Names and figures of all measures, in the order to show them."""
    names = {"loss": "loss, nats per token", "score": "score"}
    main = [(name, record[key]) for key, name in names.items() if key in record]
    return [
        *main,
        *((f"  {name}", row) for name, row in record.get("terms", {}).items()),
        *((f"judge {one_line(name, 30)}", row) for name, row in record.get("judges", {}).items()),
        *((NAMES[name], row) for name, row in record.get("measures", {}).items()),
    ]


def measured_on(record: dict[str, Any]) -> str:
    """How many prompts and responses stand behind it."""
    seen, prompts = record["seen_in_training"], counted(record["prompts"], "text" if "loss" in record else "prompt")
    kind = "none of them seen in training" if not seen else f"{seen} of them seen in training"
    times = f" x {counted(record['samples'], 'response')} a side" if "measures" in record else ""
    return (
        f"{prompts} ({kind}){times};"
        " intervals of 95 % and p-values by prompt, those of terms for all terms together (Holm)"
    )


def wins_text(name: str, rate: dict[str, Any]) -> str:
    """A win rate in words."""
    by = "" if name == "score" else f" by {one_line(name, 30)}"
    raw = f"{percent(rate['win_rate'])}{_behind(percents(rate['win_rate_interval']))}"
    words = f"wins{by} {raw}, ties half ({percent(rate['ties'])} ties)"
    if (controlled := rate["length_controlled"]) is None:
        return f"{words}; not at equal length: {rate['length_controlled_reason']}"
    return f"{words}; at equal length {percent(controlled['win_rate'])}{_behind(percents(controlled['interval']))}"


def best_of_text(record: dict[str, Any]) -> str:
    """The baseline that costs no training, against the trained policy."""
    rows, after = record["best_of_n"], record["score"]["after"]
    reached = next((row for row in rows if row["score"] >= after), None)
    if reached is not None:
        return f"as good without training: {_best(reached)}"
    return f"without training: {_best(rows[-1])}, which is less"


def _best(row: dict[str, Any]) -> str:
    return f"the best of {row['n']} of the first policy scores {row['score']:.3f} at a KL of {row['kl']:.2f} nats"


def _row(name: str, row: dict[str, Any]) -> tuple[str, str, str, str]:
    cells = table_row(name, row["before"], row["after"], row["difference"], row["difference_interval"])
    p = p_value(row.get("p_holm", row["p"]))
    return *cells[:3], f"{cells[3]}  p {p if p[:1] == '<' else f'= {p}'}"


def _behind(words: str) -> str:
    return f" {words}" if words else ""


def write_report(record: dict[str, Any], directory: Path) -> Path:
    """Write ``report.html`` and ``report.md`` with their figures into ``directory``; the path of the first.

    Raises:
        Failure: exit 5, if they cannot be written.
    """
    history = stored_history(Path(record["run"]))
    if history is None:
        return write_content(lambda where: content(record, draw_figures(record, where)), directory)

    def of_rounds(where: Path) -> Content:
        figures = [*draw_figures(record, where), *draw_panels(history, SECTION, where)]
        return content(record, figures, [rounds_section(history)])

    return write_content(of_rounds, directory)
