"""The report as Markdown: the same content as the page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from rlnlp.errors import safe_text
from rlnlp.evaluate.page.content import content
from rlnlp.evaluate.page.parts import Cell, Content, Figure, Sample, Section, Table
from rlnlp.evaluate.summary import escaped, fenced


def report_markdown(record: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """The report of an evaluation."""
    return content_markdown(content(record, figures))


def content_markdown(report: Content) -> str:
    """The report; figures are links to their files beside it, texts of models and users are escaped."""
    parts = [f"# {escaped(report.title)}", *([f"**{escaped(report.verdict)}**"] if report.verdict else [])]
    parts += [escaped(report.subtitle), *(f"- {escaped(note)}" for note in report.notes)]
    for section in report.sections:
        parts += section_parts(section)
    return "\n\n".join(parts) + "\n"


def section_parts(section: Section) -> Iterator[str]:
    """The blocks of a section."""
    yield f"## {escaped(section.title)}"
    yield from map(escaped, section.paragraphs)
    for table in section.tables:
        yield f"### {escaped(table.caption)}" if len(section.tables) > 1 else f"*{escaped(table.caption)}*"
        yield table_text(table)
    for figure in section.figures:
        yield f"![{escaped(figure.alt)}]({quote(figure.file)})"
    for number, sample in enumerate(section.samples, 1):
        yield from sample_parts(number, sample)
    yield from map(escaped, section.method)
    if section.items:
        yield "\n".join(f"- {escaped(item)}" for item in section.items)
    if section.facts:
        rows = [f"| {escaped(label)} | {lines(text)} |" for label, text in section.facts]
        yield "\n".join(["|  |  |", "| --- | --- |", *rows])
    if section.code:
        yield fenced(safe_text(section.code))


def sample_parts(number: int, sample: Sample) -> Iterator[str]:
    """A prompt with both responses."""
    yield f"### {number}. {escaped(sample.title)}"
    texts = [*([("prompt", sample.prompt)] if sample.prompt else []), *sample.sides]
    yield "\n".join(["|  |  |", "| --- | --- |", *(f"| {label} | {lines(text)} |" for label, text in texts)])
    yield table_text(sample.figures)


def lines(text: str) -> str:
    """``text`` in a cell of a table, its lines kept."""
    return "<br>".join(map(escaped, text.split("\n")))


def table_text(table: Table) -> str:
    """A table; its groups have their titles in rows of their own."""
    rows = [list(map(escaped, table.head)), ["---", *["--:"] * (len(table.head) - 1)]]
    for group in table.groups:
        if group.title:
            rows.append([f"*{escaped(group.title)}*", *[""] * (len(table.head) - 1)])
        rows += [[cell_text(cell, i) for i, cell in enumerate(row)] for row in group.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def cell_text(cell: Cell, column: int) -> str:
    """A text with its note: of a name in brackets, of a figure after it."""
    note = f"({cell.note})" if cell.note and column == 0 else cell.note
    return escaped(f"{cell.text} {note}".rstrip())
