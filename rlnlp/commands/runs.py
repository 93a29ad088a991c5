"""``rlnlp runs [DIR]``: the runs below a directory, newest first, and how to continue those that are not finished."""

import argparse
import json
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlnlp.config.parse import parse
from rlnlp.config.schema import RUNS
from rlnlp.errors import Exit, Failure, command, counted, one_line
from rlnlp.evaluate.listing import broken_lines, list_lines, record, unfinished, unfinished_lines
from rlnlp.evaluate.stored import DONE, StoredRun, read_run, stored_facts
from rlnlp.run.find import find_runs, sweep_of
from rlnlp.run.lock import is_owned
from rlnlp.run.manifest import words_to_name

OUTPUTS = Path("outputs")
NEWEST = 100  # runs that are shown where no number is given


def main(argv: list[str]) -> int:
    """List.

    Raises:
        Failure: exit 6, for a directory that is not there.
    """
    args = arguments(argv)
    top = Path(args.directory).expanduser()
    if not top.is_dir() and top != OUTPUTS:
        raise Failure(Exit.RUN, f"no directory {one_line(str(top), 200)}")
    directories, broken = find_runs(top)
    facts = dict(_dated(directories, broken))
    newest = sorted(facts, key=lambda each: (str(facts[each].get("started")), str(each)), reverse=True)
    runs = list(_read(newest, args.n, broken))
    active = {sweep_of(each) for each in newest if facts[each].get("status") != DONE and is_owned(each)}
    records = [record(run, _resume_words(run, active)) for run in runs]
    if args.json:
        left = [{"directory": str(path), "reason": reason} for path, reason in sorted(broken.items())]
        print(json.dumps({"runs": records, "total": len(facts), "broken": left}, indent=1))
        return Exit.DONE
    lines = [f"no runs below {one_line(str(top), 200)}"] if not records else []
    lines += [f"to make one: {command('train')}"] if not records and not broken else []
    lines += list_lines(records, shutil.get_terminal_size().columns if sys.stdout.isatty() else None) if records else []
    if len(records) < len(facts):
        more = counted(len(facts) - len(records), "older run")
        lines.append(f"{more} not shown: -n 0 shows all")
    print("\n".join([*lines, *unfinished_lines(records), *broken_lines(broken)]))
    return Exit.DONE


def arguments(argv: list[str]) -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(prog="rlnlp runs", description="List the runs below a directory, newest first.")
    parser.add_argument("directory", metavar="DIR", nargs="?", default=str(OUTPUTS), help="default: outputs")
    parser.add_argument("-n", type=int, default=NEWEST, help=f"how many; default {NEWEST}, 0 for all")
    parser.add_argument("--json", action="store_true", help="print records")
    args = parser.parse_args(argv)
    if args.n < 0:
        parser.error("-n must be at least 0")
    return args


def _dated(directories: Sequence[Path], broken: dict[Path, str]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Each directory with its facts; what cannot be read goes to ``broken``."""
    for directory in directories:
        try:
            yield directory, stored_facts(directory)
        except Failure as failure:
            broken[directory] = _reason(failure, directory)


def _read(directories: Sequence[Path], limit: int, broken: dict[Path, str]) -> Iterator[StoredRun]:
    """The first ``limit`` runs that can be read, 0 for all."""
    count = 0
    for directory in directories:
        try:
            yield read_run(directory)
        except Failure as failure:
            broken[directory] = _reason(failure, directory)
            continue
        count += 1
        if count == limit:
            return


def _reason(failure: Failure, directory: Path) -> str:
    """What is wrong, without the directory, which is named beside it."""
    line = str(failure).split("\n")[0]
    return line.removeprefix(f"{directory} is not a run directory: ").removeprefix(f"{directory}/")


def _resume_words(run: StoredRun, active: Collection[Path | None]) -> list[str | Path] | None:
    """What continues an unfinished run, or its sweep; None for one that is finished or goes on by itself."""
    if not unfinished(run):
        return None
    sweep = sweep_of(run.directory)
    if sweep is not None and sweep in active:
        return None
    try:
        code, secrets = words_to_name(parse(RUNS[run.algo], run.settings))
    except Failure:  # settings that are no longer valid: resuming says which
        code, secrets = [], []
    return [sweep or run.directory, *code, *secrets]
