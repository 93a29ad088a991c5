"""The tables of a comparison, for a terminal, for Markdown and for a spreadsheet."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rlnlp.errors import one_line
from rlnlp.evaluate.compare.comparison import Comparison, Section, run_names
from rlnlp.evaluate.compare.groups import BETTER, NOT_SHOWN, Figure, Pair
from rlnlp.evaluate.compare.settings import ALGO, SEED, flat, in_cell, short_names
from rlnlp.evaluate.outcome import METRICS, Outcome
from rlnlp.evaluate.stored import StoredRun
from rlnlp.evaluate.summary import escaped, markdown_table
from rlnlp.maths.resampling import Interval
from rlnlp.run.display import as_text

WIDE = 110  # columns; in fewer, an interval stands below its figure
DIFFERENCE = "difference [95 % interval]"
NARROW_NOT = NOT_SHOWN.replace(" shown", "\nshown")
MOST_PAIRS = 6  # told of a section in a terminal; of more, those with the best group
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would compute


@dataclass(frozen=True)
class Sheet:
    """Rows of cells below ``head``; ``folds`` is the number of columns from the left that may be broken."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folds: int


def group_sheet(section: Section, wide: bool = True) -> Sheet:
    """A row for each group: what tells it from others, its seeds, and what it reached."""
    keys = [key for key in section.keys if key != SEED]
    middle = any(group.middle for group in section.groups)
    kl = any(group.kl for group in section.groups)
    head = [*short_names(keys), "seeds" if wide else "n", *(["before"] if wide else []), "after", "difference"]
    head += [*([_broken("interquartile mean", wide)] if middle else []), *(["KL"] if kl else []), ""]
    rows = []
    for number, group in enumerate(section.groups):
        cells = [*(in_cell(group.where, key) for key in keys), str(len(group.runs))]
        cells += [f"{group.before.mean:.3f}"] if wide else []
        cells += [_with_interval(group.after, "", wide), _with_interval(group.difference, "+", wide)]
        cells += [_with_interval(group.middle, "", wide) if group.middle else ""] if middle else []
        cells += [_hundredths(group.kl.mean) if group.kl else ""] if kl else []
        rows.append((*cells, _verdict(section, number)))
    title = f"{section.measure.title}: mean over seeds [95 % interval]"
    return Sheet(title, tuple(head), tuple(rows), len(keys))


def run_sheet(section: Section, wide: bool = True) -> Sheet:
    """A row for each run: its settings, and what it reached."""
    runs, keys = section.measure.runs, section.keys
    names, best = run_names(runs), _best_run(runs, section)
    kl = any(_reached(run).kl is not None for run in runs)
    head = ["run", *short_names(keys), "before", "after", _broken(DIFFERENCE, wide), *(["KL"] if kl else []), "s", ""]
    rows = []
    for run, name in zip(runs, names, strict=True):
        reached, settings = _reached(run), flat(run)
        cells = [one_line(name, 100), *(in_cell(settings, key) for key in keys)]
        cells += [f"{reached.before:.3f}", f"{reached.after:.3f}"]
        cells.append(_with_interval(Figure(reached.difference, reached.interval), "+", wide))
        cells += [_hundredths(reached.kl) if reached.kl is not None else ""] if kl else []
        rows.append((*cells, "" if run.seconds is None else f"{run.seconds:.0f}", "best" if run is best else ""))
    return Sheet(section.measure.title, tuple(head), tuple(rows), len(keys) + 1)


def pair_sheet(section: Section, whole: bool, wide: bool = True) -> Sheet | None:
    """A row for each two groups; if not ``whole`` and they are many, for those with the best. None without pairs."""
    shown, title = section.pairs, "pairs of groups, the one with the better mean first"
    if not whole and len(shown) > MOST_PAIRS:
        shown = tuple(pair for pair in shown if pair.better == section.best)
        title = f"the best group against each other one ({len(shown)} of {len(section.pairs)} pairs)"
    if not shown:
        return None
    if wide:
        head: tuple[str, ...] = ("group", "against", DIFFERENCE, "p (Holm)", "P(better) [95 %]", "")
    else:
        head = ("group\nagainst", _broken(DIFFERENCE, wide), "p (Holm)", "")
    return Sheet(title, head, tuple(_pair_cells(section, pair, wide) for pair in shown), 2 if wide else 1)


def _pair_cells(section: Section, pair: Pair, wide: bool) -> tuple[str, ...]:
    figures = _with_interval(Figure(pair.difference.mean, pair.difference.interval), "+", wide)
    one, other = (group_words(section, number) for number in (pair.better, pair.other))
    p, (low, high) = p_words(pair.p_holm), pair.improvement_interval
    if not wide:
        return f"{one}\n{other}", figures, p, pair.verdict if pair.verdict == BETTER else NARROW_NOT
    return one, other, figures, p, f"{pair.improvement:.2f} [{low:.2f}, {high:.2f}]", pair.verdict


def group_words(section: Section, number: int) -> str:
    """What tells a group from the others of its section, on one line."""
    where = section.groups[number].where
    keys = [key for key in section.keys if key in where]
    names = dict(zip(section.keys, short_names(section.keys), strict=True))
    words = [in_cell(where, key) if key == ALGO else f"{names[key]}={in_cell(where, key)}" for key in keys]
    return " ".join(words) or "all runs"


def p_words(p: float) -> str:
    """A p-value in three digits."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _verdict(section: Section, number: int) -> str:
    if number == section.best:
        return "best"
    pair = section.against_best(number)
    return "" if pair is None else "worse than best" if pair.verdict == BETTER else NOT_SHOWN


def _best_run(runs: Sequence[StoredRun], section: Section) -> StoredRun | None:
    return METRICS[section.measure.metric](runs, key=lambda run: _reached(run).after) if len(runs) > 1 else None


def _reached(run: StoredRun) -> Outcome:
    assert run.outcome is not None, "of runs that are finished"
    return run.outcome


def _broken(words: str, wide: bool) -> str:
    return words if wide else words.replace(" ", "\n", 1)


def _hundredths(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # no -0.00


def _with_interval(figure: Figure, sign: str, wide: bool) -> str:
    return f"{figure.mean:{sign}.3f}{_ends(figure.interval, sign, ' ' if wide else chr(10))}"


def _ends(interval: Interval | None, sign: str, gap: str) -> str:
    return "" if interval is None else f"{gap}[{interval[0]:{sign}.3f}, {interval[1]:{sign}.3f}]"


def as_table(sheet: Sheet, width: int) -> Group:
    """The sheet for a terminal of ``width`` columns."""
    gap = 2 if width >= WIDE else 1
    table = Table(box=None, padding=(0, gap, 0, 0))
    for number, column in enumerate(sheet.head):
        table.add_column(as_text(column), no_wrap=number >= sheet.folds, overflow="fold")
    for row in sheet.rows:
        table.add_row(*map(as_text, row))
    return Group(Text(one_line(sheet.title, 400), style="italic"), table)  # a table would break its title


def as_markdown(title: str, sheet: Sheet) -> str:
    """The sheet as a table of Markdown below a title."""
    rows = [tuple(map(escaped, row)) for row in sheet.rows]
    table = markdown_table(tuple(map(escaped, sheet.head)), rows, "l" * len(sheet.head))
    return f"{escaped(title)}\n\n{table}"


def as_csv(comparison: Comparison) -> str:
    """A row for each run, with its settings that differ and its figures as numbers; for spreadsheets and pandas."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["run", "measure", *comparison.keys, "metric", "n", "before", "after", "difference", "low", "high", "kl"]
    writer.writerow([_harmless(cell) for cell in [*head, "steps", "seconds"]])
    for number, section in enumerate(comparison.sections):
        for run in section.measure.runs:
            reached, settings = _reached(run), flat(run)
            low, high = reached.interval or (None, None)
            cells = [str(run.directory), number, *(settings.get(key) for key in comparison.keys), reached.metric]
            cells += [reached.n, reached.before, reached.after, reached.difference, low, high, reached.kl]
            writer.writerow([_harmless(cell) for cell in [*cells, run.steps, run.seconds]])
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    """A text that a spreadsheet shows and does not compute; a number stays one, nothing stays empty."""
    if cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool)):
        return cell
    text = str(cell)
    return f"'{text}" if text.startswith(FORMULA) else text
