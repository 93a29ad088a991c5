"""What came of a run, as lines for a terminal, a pipe or train.log, and as Markdown for ``summary.md``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rich.cells import cell_len

from rlnlp.errors import one_line

TEXT, RESPONSE, NAME = 200, 400, 40  # characters that are shown of a prompt, a response, a term's name
HEAD = ("", "before", "after", "difference [95 % interval]")
FILES = {
    "policy/": "the model, for transformers' from_pretrained",
    "summary.md": "this report",
    "heldout.jsonl": "what was measured on, a line each: before and after, all scores",
    "curves.png": "the metrics over the steps (metrics.jsonl)",
    "samples.jsonl": "responses during training",
}
MARKUP = re.compile(r"[\\`*_\[\]<>|~#&$@]|:(?=//)|(?<=www)\.", re.IGNORECASE)
STRONG, WARNING = "bold", "magenta"  # readable on a dark and on a light background
LABEL = 8  # columns before the texts of a sample
Row = tuple[str, str, str, str]  # name, before, after, difference


class Listing(NamedTuple):
    """A table of its own with a caption; the first column names the row, the others hold figures."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


class Line(NamedTuple):
    """A line with its style; in a terminal that is too narrow it goes on ``indent`` columns from the left."""

    text: str
    style: str = ""
    indent: int = 0


@dataclass(frozen=True)
class Report:
    """``title`` is what was trained and what came of it, ``measured`` on what that was measured.

    ``rows`` compare before and after, ``notes`` and ``warnings`` are sentences, ``samples`` are prompts with the
    responses before and after, ``commands`` are what to type next, ``files`` are those of the run with what they hold,
    ``listings`` are further tables.
    """

    title: str
    measured: str
    rows: Sequence[Row]
    notes: Sequence[str]
    warnings: Sequence[str]
    samples: Sequence[tuple[str, str, str]]
    commands: Sequence[str]
    files: Mapping[str, str] = field(default_factory=lambda: FILES)
    listings: Sequence[Listing] = ()


def table_row(name: str, before: float, after: float, difference: float, interval: Sequence[float] | None) -> Row:
    """Figures before and after, and their difference with its interval if there is one."""
    ends = f" [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else ""
    return name, f"{before:.3f}", f"{after:.3f}", f"{difference:+.3f}{ends}"


def report_lines(report: Report, directory: Path, took: str) -> list[Line]:
    """The report as lines; ``took`` is what the run cost."""
    lines = [Line(report.measured), *map(Line, aligned([HEAD, *report.rows]))]
    lines += [Line(line) for listing in report.listings for line in listing_lines(listing)]
    lines += map(Line, report.notes)
    lines += [Line(f"warning: {warning}", WARNING) for warning in report.warnings]
    for prompt, before, after in report.samples:
        lines.append(Line(f"prompt  {one_line(prompt, TEXT)}", STRONG, LABEL))
        lines.append(Line(f"before  {one_line(before, RESPONSE)}", "", LABEL))
        lines.append(Line(f"after   {one_line(after, RESPONSE)}", "", LABEL))
    width = max(15, *(len(name) + 2 for name in report.files))
    files = [f"  {name:<{width}}{what}" for name, what in report.files.items()]
    return [*lines, *map(Line, ["", took, f"{directory}/", *files, *next_lines(report.commands)])]


def next_lines(commands: Sequence[str]) -> list[str]:
    """What to type next, below each other."""
    return [f"{'next:' if i == 0 else '':<6}{each}" for i, each in enumerate(commands)]


def aligned(rows: Sequence[Row]) -> list[str]:
    """The rows as lines: names and differences begin, figures end in one column."""
    shown = [[one_line(row[0], NAME) if row[0][:1] != " " else f"  {one_line(row[0], NAME)}", *row[1:]] for row in rows]
    widths = [max(cell_len(row[i]) for row in shown) for i in range(3)]
    return [
        f"{name}{' ' * (widths[0] - cell_len(name))}  {before:>{widths[1]}}  {after:>{widths[2]}}  {rest}".rstrip()
        for name, before, after, rest in shown
    ]


def listing_lines(listing: Listing) -> list[str]:
    """The caption, and below it the rows in columns."""
    rows = [[one_line(cell, NAME) for cell in row] for row in (listing.head, *listing.rows)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    shown = ["  ".join(" " * (w - cell_len(cell)) + cell for cell, w in zip(row, widths, strict=True)) for row in rows]
    return [listing.caption, *shown]


def markdown(report: Report, facts: Mapping[str, str], took: str) -> str:
    """The report as a Markdown document; ``facts`` describe the run, ``took`` is what it cost."""
    samples = [
        (escaped(one_line(prompt, TEXT)), escaped(one_line(before, RESPONSE)), escaped(one_line(after, RESPONSE)))
        for prompt, before, after in report.samples
    ]
    parts = [
        f"# {escaped(report.title)}",
        escaped(report.measured),
        result_table(report),
        *(part for listing in report.listings for part in (escaped(listing.caption), listing_table(listing))),
        *map(escaped, report.notes),
        *(f"**Warning:** {escaped(warning)}" for warning in report.warnings),
        escaped(took),
        *(["## Samples", markdown_table(("prompt", "before", "after"), samples, "lll")] if samples else []),
        "## The run",
        settings_table(facts),
        "## Files",
        "\n".join(f"- `{name}`: {escaped(what)}" for name, what in report.files.items() if name != "summary.md"),
        "## Next",
        fenced("\n".join(report.commands)),
    ]
    return "\n\n".join(parts) + "\n"


def result_table(report: Report) -> str:
    """Before and after as a table of Markdown."""
    return markdown_table(HEAD, [(escaped(name), *map(escaped, figures)) for name, *figures in report.rows], "lrrl")


def listing_table(listing: Listing) -> str:
    """A listing as a table of Markdown."""
    rows = [[*map(escaped, row)] for row in listing.rows]
    return markdown_table([*map(escaped, listing.head)], rows, "l" + "r" * (len(listing.head) - 1))


def settings_table(facts: Mapping[str, str]) -> str:
    """The description of a run as a table of Markdown."""
    described = [(escaped(label), "<br>".join(map(escaped, text.split("\n")))) for label, text in facts.items()]
    return markdown_table(("", ""), described, "ll")


def escaped(text: str) -> str:
    """``text`` on one line, shown by Markdown as it is: no markup, no HTML, no link."""
    return MARKUP.sub(r"\\\g<0>", one_line(text, len(text) * 10))


def fenced(text: str) -> str:
    """``text`` as a block of code, with a fence longer than any in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """A table of Markdown; ``align`` has ``l`` or ``r`` for each column. The cells are escaped already."""
    rule = [{"l": "---", "r": "--:"}[side] for side in align]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))
