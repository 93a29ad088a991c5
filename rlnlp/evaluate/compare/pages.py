"""A comparison for people: what is printed, and the document ``compare.md``."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import RenderableType

from rlnlp.config.differing import shown
from rlnlp.errors import counted, one_line, safe_text
from rlnlp.evaluate.compare.comparison import Comparison
from rlnlp.evaluate.compare.settings import short_names, values_of
from rlnlp.evaluate.compare.sheets import WIDE, as_markdown, as_table, group_sheet, pair_sheet, run_sheet
from rlnlp.evaluate.summary import escaped
from rlnlp.run.display import as_text, piped_or_terminal

MOST_VALUES = 8  # told of a setting
MEASURED_BY = ("reward", "data")  # groups that tell measures apart, where there are several


def show(comparison: Comparison, runs: bool) -> None:
    """Print it; ``runs``: a row for each run too."""
    console = piped_or_terminal()
    for part in printed(comparison, console.width, runs):
        console.print(part)


def show_seeds(comparison: Comparison) -> None:
    """Print only what there is to say over seeds: nothing, where no group has more than one."""
    console = piped_or_terminal()
    if any(section.seeded for section in comparison.sections):
        for part in over_seeds(comparison, console.width):
            console.print(part)


def opening(comparison: Comparison) -> Iterator[str]:
    """How many runs there are, what differs, what is not counted, and which measure different things."""
    count = sum(len(section.groups) for section in comparison.sections)
    yield f"{counted(len(comparison.runs), 'run')}, {counted(count, 'group')} of equal settings (all but the seed)"
    keys = [key for key in comparison.keys if len(comparison.sections) == 1 or key.split(".")[0] not in MEASURED_BY]
    values = values_of(comparison.runs, keys)
    differs = [_values(name, values[key]) for key, name in zip(keys, short_names(keys), strict=True)]
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
    yield from map(as_text, opening(comparison))
    for section in comparison.sections:
        if runs or not section.seeded:
            yield as_text("")
            yield as_table(run_sheet(section, width >= WIDE), width)
    yield from over_seeds(comparison, width)


def over_seeds(comparison: Comparison, width: int) -> Iterator[RenderableType]:
    """Groups and pairs of each section, and what a reader must know."""
    for section in comparison.sections:
        sheets = [group_sheet(section, width >= WIDE)] if section.seeded else []
        found = pair_sheet(section, whole=False, wide=width >= WIDE)
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
        parts += [as_markdown("Mean over seeds [95 % interval]", group_sheet(section))] if section.seeded else []
        parts += [as_markdown(found.title.capitalize(), found)] if found else []
        parts.append(as_markdown("Each run", run_sheet(section)))
    parts += map(escaped, comparison.notes)
    parts += [f"![{name}]({safe_text(path.name)})" for name, path in pictures.items()]
    return "\n\n".join(parts) + "\n"
