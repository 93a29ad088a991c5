"""``rlnlp compare RUN ... | SWEEP``: what differs in the settings, and what of it made a difference, over seeds."""

import argparse
import secrets
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rlnlp.errors import Exit, Failure, one_line
from rlnlp.run.find import is_sweep

MADE = Path("outputs") / "compare"
HERE = "-"  # for a file: standard output


def main(argv: list[str]) -> int:
    """Compare.

    Raises:
        Failure: for what the user can fix.
    """
    args = arguments(argv)
    from rlnlp.evaluate.compare.comparison import compare, gather
    from rlnlp.evaluate.compare.files import json_text, where_line, write_all
    from rlnlp.evaluate.compare.pages import markdown, show
    from rlnlp.evaluate.compare.sheets import as_csv

    paths = [Path(word).expanduser() for word in args.runs]
    comparison = compare(*gather(paths), args.where, args.sort)
    for name, text in ((args.csv, as_csv), (args.markdown, markdown)):
        if name is not None:
            _write(name, text(comparison))
    if HERE in (args.csv, args.markdown):
        return Exit.DONE
    if args.json and args.output is None:
        print(json_text(comparison, {}), end="")
        return Exit.DONE
    if not args.json:
        show(comparison, args.all)
    directory = directory_for(paths, args.where, args.output)
    try:
        files = write_all(comparison, directory)
    except OSError as error:
        raise _unwritable(directory, error, "--output DIR chooses another directory") from error
    print(json_text(comparison, files) if args.json else where_line(files), end="" if args.json else "\n")
    return Exit.DONE


def arguments(argv: list[str]) -> argparse.Namespace:
    """The words of the command line.

    Raises:
        Failure: exit 2, for a setting that is typed without ``--where``.
    """
    parser = argparse.ArgumentParser(
        prog="rlnlp compare",
        description="What differs in the settings of runs, and what of it made a difference: means over seeds with "
        "intervals, each two groups beside each other, the curves and the frontiers of all.",
        epilog="Files go to the directory of the sweep that is compared whole, else to outputs/compare/<time>.",
    )
    parser.add_argument("runs", metavar="RUN|SWEEP", nargs="*", help="run directories, sweeps, or what they are below")
    parser.add_argument("--where", metavar="key=value", nargs="+", action="extend", default=[],
                        help="only runs with these settings: --where algo=ppo seed=0,1")  # fmt: skip
    parser.add_argument("--sort", metavar="score|KEY", help="order of the groups: best first, or by a setting or kl")
    parser.add_argument("--all", action="store_true", help="show a row for each run too")
    parser.add_argument("--output", metavar="DIR", help="where the pictures and compare.md, .json and .csv are written")
    parser.add_argument("--csv", metavar="FILE", help="write a row for each run; - prints it")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables as Markdown; - prints them")
    parser.add_argument("--json", action="store_true", help="print a record; files only with --output")
    args = parser.parse_intermixed_args(argv)
    args.runs += [word for word in args.where if "=" not in word or Path(word).expanduser().is_dir()]
    args.where = [word for word in args.where if word not in args.runs]
    for word in args.runs:
        if "=" in word and not Path(word).expanduser().is_dir():
            raise Failure(Exit.CONFIG, f"'{one_line(word, 60)}' is no run; to choose runs, type: --where {word}")
    if not args.runs:
        parser.error("name two or more runs, or a sweep")
    return args


def directory_for(paths: Sequence[Path], conditions: Sequence[str], asked: str | None) -> Path:
    """Where the files of a comparison go: a whole sweep has its own beside its jobs."""
    if asked is not None:
        return Path(asked).expanduser()
    if len(paths) == 1 and is_sweep(paths[0]) and not conditions:
        return paths[0]
    return MADE / f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(4)}"


def _write(name: str, text: str) -> None:
    """To the file, or to standard output.

    Raises:
        Failure: exit 5, if it cannot be written.
    """
    if name == HERE:
        sys.stdout.write(text)
        return
    path = Path(name).expanduser()
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error, "choose another file") from error


def _unwritable(path: Path, error: OSError, way: str) -> Failure:
    return Failure(Exit.STORAGE, f"{one_line(str(path), 200)} cannot be written ({error.strerror})\n{way}")
