"""What a report is made of: plain text in tables, figures, samples and lists; nothing of HTML or Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rlnlp.errors import one_line

GOOD, BAD, PLAIN = "good", "bad", "plain"  # what a change means, where it means anything


@dataclass(frozen=True)
class Cell:
    """A text, a smaller one after it, and what it means: good, bad or plain."""

    text: str
    note: str = ""
    tone: str = PLAIN


@dataclass(frozen=True)
class Group:
    """Rows with a heading of their own, which may be empty; the first cell of a row names it."""

    title: str
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Table:
    """``head`` has a word for each column; all but the first hold figures."""

    caption: str
    head: Sequence[str]
    groups: Sequence[Group]


@dataclass(frozen=True)
class Figure:
    """A PNG that lies at ``file``, relative to the report; ``section`` is the key of where it is shown.

    ``alt`` says what it shows to whoever does not see it. A ``wide`` one needs a whole line.
    """

    section: str
    file: str
    title: str
    alt: str
    png: bytes
    wide: bool = False


@dataclass(frozen=True)
class Sample:
    """A prompt with what was written to it: texts with their labels, side by side. ``figures`` compare them."""

    title: str
    tone: str
    prompt: str
    sides: Sequence[tuple[str, str]]
    figures: Table


@dataclass(frozen=True)
class Tile:
    """A figure that is to be seen first."""

    label: str
    text: str
    note: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in the order of the fields; what is empty is left out.

    ``paragraphs`` are findings, ``method`` is how the tables and figures came about.
    """

    key: str
    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    method: Sequence[str] = ()
    samples: Sequence[Sample] = ()
    items: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    code: str = ""


@dataclass(frozen=True)
class Content:
    """The whole report. ``tone`` is that of the verdict."""

    title: str
    subtitle: str
    verdict: str
    tone: str
    tiles: Sequence[Tile]
    notes: Sequence[str]
    sections: Sequence[Section] = field(default_factory=tuple)


def with_figures(section: Section, figures: Sequence[Figure]) -> Section | None:
    """The section with its figures; None if nothing stands in it."""
    full = replace(section, figures=[figure for figure in figures if figure.section == section.key])
    parts = (full.tables, full.figures, full.samples, full.items, full.facts, full.code)
    return full if any(parts) else None


def sentence(text: str) -> str:
    """``text`` on one line with a capital and a full stop."""
    flat = one_line(text, 1000)
    return flat if not flat else f"{flat[:1].upper()}{flat[1:]}{'' if flat[-1] in '.!?…' else '.'}"
