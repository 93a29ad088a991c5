"""A comparison for people: what is printed, and the document ``compare.md``."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console, RenderableType

from rlnlp.config.differing import shown
from rlnlp.errors import counted, one_line, safe_text
from rlnlp.evaluate.compare.comparison import Comparison
from rlnlp.evaluate.compare.settings import short_names, values_of
from rlnlp.evaluate.compare.sheets import WIDE, as_markdown, as_table, group_sheet, pair_sheet, run_sheet
from rlnlp.evaluate.summary import escaped
from rlnlp.run.display import as_text

MOST_VALUES = 8  # told of a setting
PIPED = 200  # columns of a table that is not printed to a terminal


def show(comparison: Comparison, runs: bool) -> None:
    """Print it; ``runs``: a row for each run too."""
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = PIPED
    for part in printed(comparison, console.width, runs):
        console.print(part)


def opening(comparison: Comparison) -> Iterator[str]:
    """How many runs there are, what differs, what is not counted, and which measure different things."""
    count = sum(len(section.groups) for section in comparison.sections)
    yield f"{counted(len(comparison.runs), 'run')}, {counted(count, 'group')} of equal settings (all but the seed)"
    values = values_of(comparison.runs, comparison.keys)
    differs = [
        _values(name, values[key]) for key, name in zip(comparison.keys, short_names(comparison.keys), strict=True)
    ]
    yield f"what differs: {'; '.join(differs) or 'nothing'}"
    for path, reason in comparison.left:
        yield f"not counted: {one_line(str(path), 200)} {one_line(reason, 200)}"
    if len(comparison.sections) > 1:
        yield f"not compared with each other, as they measure different things ({len(comparison.sections)}):"
        for section in comparison.sections:
            names = [str(run.directory) for run in section.measure.runs]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield f"  {one_line(', '.join(names[:3]), 300)}{more}: {section.measure.apart}"


def _values(name: str, values: Sequence[Any]) -> str:
    words = [one_line(shown(value), 40) for value in values[:MOST_VALUES]]
    return f"{name} {', '.join(words)}{' ...' if len(values) > MOST_VALUES else ''}"


def printed(comparison: Comparison, width: int, runs: bool) -> Iterator[RenderableType]:
    """What is shown in a terminal of ``width`` columns; ``runs``: a row for each run too."""
    wide = width >= WIDE
    for line in opening(comparison):
        yield as_text(line)
    for section in comparison.sections:
        sheets = [run_sheet(section, wide)] if runs or not section.seeded else []
        sheets += [group_sheet(section, wide)] if section.seeded else []
        found = pair_sheet(section, whole=False, wide=wide)
        for sheet in [*sheets, *([found] if found else [])]:
            yield as_text("")
            yield as_table(sheet, width)
    yield as_text("")
    yield from map(as_text, comparison.notes)


def markdown(comparison: Comparison, pictures: Mapping[str, Path] = MappingProxyType({})) -> str:
    """The same as a document, with every pair and every run; ``pictures`` are beside it."""
    parts = ["# Comparison", *map(escaped, opening(comparison))]
    for section in comparison.sections:
        apart = section.measure.apart
        parts += [f"## {escaped(section.measure.title)}", *([escaped(apart)] if apart else [])]
        found = pair_sheet(section, whole=True)
        sheets = [*([group_sheet(section)] if section.seeded else []), *([found] if found else []), run_sheet(section)]
        parts += map(as_markdown, sheets)
    parts += map(escaped, comparison.notes)
    parts += [f"![{name}]({safe_text(path.name)})" for name, path in pictures.items()]
    return "\n\n".join(parts) + "\n"
