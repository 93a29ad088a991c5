"""A check of the settings of a run: everything that is known before training, in words or as a record."""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlnlp.commands.check.findings import Finding, Report
from rlnlp.commands.default_terms import left_out
from rlnlp.commands.explain.main import laid_out
from rlnlp.commands.preflight import with_faults
from rlnlp.commands.train import check_device
from rlnlp.config.description import left_out_lines
from rlnlp.config.schema import RlhfRun
from rlnlp.errors import Exit, Failure, command, counted, safe_text
from rlnlp.run.disk import existing
from rlnlp.run.manifest import check_free

COLUMN = 17  # of the labels


def check_run(settings: Any, directory: Path, words: Sequence[str], as_json: bool) -> int:
    """Check composed settings of a run that would be made in ``directory``, print, and give the exit code.

    ``words`` are those with which ``rlnlp`` trains so.
    """
    from rlnlp.run.live import display

    report, shown = Report(), display()
    try:
        config, faults = with_faults(settings)
        for fault in faults:
            report.fail(fault)
        look_at_directory(directory, report)
        if not faults:
            for line in left_out_lines(left_out(settings, config)):
                report.warn("term-left-out", line, "add the field to the data if the term is to count")
            report.sound["settings"] = "they fit each other, and the files that they name are there"
            with shown.waiting("loading torch"):
                check_device(config)
                from rlnlp.commands.check import look, rounds
            stages = rounds.stages if isinstance(config, RlhfRun) else look.stages
            look.look(config, directory, shown, report, stages)
    except Failure as failure:
        report.fail(failure)
    way = command(*words)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(json.dumps({**report.record(), "command": way}) if as_json else "\n".join(lines(report, way, width)))
    return report.exit_code


def look_at_directory(directory: Path, report: Report) -> None:
    """Whether a run can be made in ``directory``."""
    try:
        check_free(directory, saved=False)
    except Failure as failure:
        report.fail(failure)
    above = existing(directory)
    if not os.access(above, os.W_OK | os.X_OK):
        what = f"no run can be made in {directory}: {above} cannot be written to"
        report.add(Finding("directory", "error", what, "put it elsewhere with hydra.run.dir=", Exit.STORAGE))


def lines(report: Report, way: str, width: int | None) -> Iterator[str]:
    """The report in words: what is wrong with what to do, what is sound, what the run takes, how to train."""
    errors = [each for each in report.findings if each.severity == "error"]
    for each in [*errors, *(each for each in report.findings if each.severity != "error")]:
        yield from _finding(each, width)
    if report.findings:
        yield ""
    for rows in ({f"ok {label}": text for label, text in report.sound.items()}, report.takes):
        for label, text in rows.items():
            yield from _laid_out(label, text, width)
        if rows:
            yield ""
    if errors:
        yield f"not sound: {counted(len(errors), 'error')}; when that is mended, train with:"
    else:
        warned = f", with {counted(len(report.findings), 'warning')}" if report.findings else ""
        yield f"sound{warned}; train with:"
    yield f"  {way}"


def _finding(found: Finding, width: int | None) -> Iterator[str]:
    yield from _laid_out(found.severity, f"{found.what} ({found.name})", width)
    yield from _laid_out("  to do", found.fix, width)


def _laid_out(label: str, text: str, width: int | None) -> Iterator[str]:
    if width is not None:
        yield from (line.removeprefix("  ") for line in laid_out(label, safe_text(text), COLUMN, width + 2))
    else:
        yield f"{label:<{COLUMN}}{safe_text(text)}"
