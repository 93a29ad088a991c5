"""The list that ``rlnlp runs`` prints: a record of each run, and its lines."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from rlnlp.config.description import duration
from rlnlp.config.differing import words_of
from rlnlp.config.measuring import every
from rlnlp.config.parse import parse
from rlnlp.config.schema import RUNS
from rlnlp.errors import Failure, command, counted, one_line, safe_text, shell_word
from rlnlp.evaluate.stored import DONE, RUNNING, StoredRun

HEAD = ("run", "status", "algorithm", "steps", "before -> after", "time")
NARROW = 120  # columns; in fewer, a run has two lines
LEAST = 24  # columns that the settings need beside the other figures
Record = Mapping[str, Any]


def record(run: StoredRun, resume: Sequence[str | Path] | None) -> dict[str, Any]:
    """The run as plain data; ``resume`` are the words that continue it."""
    reached = run.outcome
    return {
        "run": str(run.directory), "status": run.status, "exit_code": run.facts.get("exit_code"), "algo": run.algo,
        "steps": run.steps, "total_steps": run.total_steps, "round": run.rounds and run.rounds[0],
        "rounds": run.rounds and run.rounds[1], "started": run.facts.get("started"),
        "seconds": run.seconds, "metric": reached and reached.metric, "n": reached and reached.n,
        "before": reached and reached.before, "after": reached and reached.after,
        "difference": reached and reached.difference, "difference_interval": reached and reached.interval,
        "settings": own_words(run.settings), "resume": None if resume is None else command("resume", *resume),
    }  # fmt: skip


def own_words(settings: Mapping[str, Any]) -> list[str]:
    """What differs from the algorithm's defaults, but for what a run decides where the settings leave it open."""
    words = words_of(settings)
    decided = f"heldout.every={settings.get('heldout', {}).get('every')}"
    if decided in words:
        try:
            derived = every(parse(RUNS[settings["algo"]["name"]], settings))
        except Failure:  # of settings that are no longer valid nothing more is known
            return words
        return [word for word in words if word != f"heldout.every={derived}"]
    return words


def list_lines(records: Sequence[Record], width: int | None) -> Iterator[str]:
    """The records as a table of ``width`` columns; None: nothing is broken."""
    rows = [HEAD, *(_cells(each) for each in records)]
    widths = [max(cell_len(row[i]) for row in rows) for i in range(len(HEAD))]
    whole = sum(widths) + 2 * len(widths)
    if width is not None and width < max(NARROW, whole + LEAST):
        yield from _in_two_lines(rows, records, widths, width)
        return
    yield f"{_aligned(rows[0], widths)}  settings that are not the defaults"
    for row, each in zip(rows[1:], records, strict=True):
        yield from _with_settings(_aligned(row, widths) + "  ", each, whole, width)


def _in_two_lines(
    rows: Sequence[Sequence[str]], records: Sequence[Record], widths: Sequence[int], width: int
) -> Iterator[str]:
    """The path has a line of its own, the figures stand below it."""
    for row, each in zip(rows[1:], records, strict=True):
        yield row[0]
        figures = f"  {_aligned(row[1:], widths[1:])}  "
        yield from _with_settings(figures, each, cell_len(figures), width)


def _with_settings(before: str, each: Record, column: int, width: int | None) -> Iterator[str]:
    """The settings behind ``before``; where there is no room for them, on lines of their own."""
    text = " ".join(one_line(shell_word(word), 400) for word in each["settings"])
    if width is None:
        yield f"{before}{text}".rstrip()
        return
    if width - column < LEAST:
        yield before.rstrip()
        before, column = " " * 4, 4
    for line in textwrap.wrap(text, max(LEAST, width - column)) or [""]:
        if (before + line).strip():
            yield f"{before}{line}".rstrip()
        before = " " * column


def _cells(each: Record) -> tuple[str, ...]:
    status = each["status"] + (f" (exit {each['exit_code']})" if each["status"] == "failed" else "")
    figures = "" if each["after"] is None else f"{each['metric']} {each['before']:.3f} -> {each['after']:.3f}"
    took = "" if each["seconds"] is None else duration(each["seconds"])
    rounds = f", round {each['round']}/{each['rounds']}" if each["rounds"] else ""
    steps = f"{each['steps']}/{each['total_steps']}{rounds}"
    return tuple(one_line(cell, 200) for cell in (each["run"], status, each["algo"], steps, figures, took))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))


def unfinished_lines(records: Sequence[Record]) -> Iterator[str]:
    """How to continue what is not finished, each command once."""
    ways = dict.fromkeys(each["resume"] for each in records if each["resume"] is not None)
    if ways:
        yield from ("", "not finished; to continue:", *(f"  {way}" for way in ways))


def broken_lines(broken: Mapping[Path, str]) -> Iterator[str]:
    """The directories that cannot be read, on one line for each reason."""
    reasons: dict[str, list[str]] = {}
    for directory, reason in sorted(broken.items()):
        reasons.setdefault(reason, []).append(one_line(str(directory), 100))
    for reason, names in reasons.items():
        more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
        what = counted(len(names), "directory", "directories")
        yield safe_text(f"{what} left out, {reason}: {', '.join(names[:3])}{more}")


def unfinished(run: StoredRun) -> bool:
    """True for a run that has ended before its last step and that no process trains."""
    return run.status not in (DONE, RUNNING)
