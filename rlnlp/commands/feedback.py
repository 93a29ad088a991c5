"""``rlnlp feedback STORE``: people compare responses, in the terminal or the browser; files in and out; the audit."""

import argparse
import json
import re
import signal
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import TextIO

from rlnlp.config.choices import is_run
from rlnlp.config.hints import did_you_mean
from rlnlp.config.schema import RlhfRun
from rlnlp.errors import Exit, Failure, Stopped, command, counted, one_line
from rlnlp.feedback.annotating import Annotators
from rlnlp.feedback.audit import audit
from rlnlp.feedback.audit_lines import audit_lines
from rlnlp.feedback.chosen import at_terminal, check_web, own_name
from rlnlp.feedback.importing import import_rows, read_rows, seed_in
from rlnlp.feedback.lossless import lossless_lines
from rlnlp.feedback.pairs import pair_lines
from rlnlp.feedback.store import REPEATED, Store
from rlnlp.models.locate import without_policy
from rlnlp.run.disk import replace
from rlnlp.run.handlers import handled
from rlnlp.run.lock import is_owned
from rlnlp.run.manifest import read_config

FILE = "feedback.sqlite"  # of a run
PAIRS_ENDING = ".pairs.jsonl"
DRAWN = 20  # comparisons, if it is not said how many
HERE = "-"  # for a file: standard output


def main(argv: list[str]) -> int:
    """Read files, write files, audit; with none of these collect judgements.

    Raises:
        Failure: for what the user can fix.
    """
    args = arguments(argv)
    path, run = set_path(args.store), run_of(args.store)
    read = [(name, read_rows(name)) for name in args.imported]
    collects = not (read or args.export is not None or args.audit)
    if not path.exists() and not read and (run is None or not collects):
        raise _no_set(path)
    if collects:
        check_can_ask(args)
        check_can_draw(path, run)
    seed = args.seed if args.seed is not None else seed_in(read[0][1]) if read else 0 if run is None else seed_of(run)
    with Store(path, seed, create=bool(read or run), repeated=args.repeat) as store:
        for name, rows in read:
            print("\n".join(import_rows(store, name, rows, args.overlap).lines(name)), file=_told(args))
        if args.export is not None:
            export(store, args.export, args.pairs or args.export.endswith(PAIRS_ENDING), args)
        if args.audit:
            record = audit(store)
            print(json.dumps(record, indent=1, allow_nan=False) if args.json else "\n".join(audit_lines(record)))
        return collect(store, run, args) if collects else Exit.DONE


def arguments(argv: list[str]) -> argparse.Namespace:
    """The words of the command line.

    Raises:
        Failure: exit 2, for a word that the command does not have, with the flag that was meant.
    """
    parser = argparse.ArgumentParser(
        prog="rlnlp feedback",
        description="Let people compare responses in the terminal, or in the browser with --web: those of a file, or of"
        " the policy of a run. What they say is kept in one file; it is saved when it is confirmed, and several people"
        " can work at once.",
        epilog="To begin: rlnlp feedback my.sqlite --import pairs.jsonl, with a line for each pair:"
        ' {"prompt": ..., "text1": ..., "text2": ...}; then rlnlp feedback my.sqlite.',
    )
    parser.add_argument("store", metavar="RUN|FILE", help=f"a feedback set, or a run whose {FILE} is meant")
    parser.add_argument("--web", action="store_true", help="serve a page on this machine and print a link a name")
    parser.add_argument(
        "--port", type=int, default=8585, help="of the page; default 8585, or a free one if it is taken"
    )
    parser.add_argument("--annotator", metavar="NAME", action="append", default=[],
                        help="who judges; with --web as often as there are people")  # fmt: skip
    parser.add_argument("--instructions", metavar="TEXT", default="", help="what those who judge are to look at")
    parser.add_argument("--items", metavar="N", type=int,
                        help="stop after so many answers; of a run of which nothing is open, so many comparisons are"
                        f" drawn from its policy before (default: {DRAWN}, and no stop)")  # fmt: skip
    parser.add_argument("--audit", action="store_true", help="agreement, biases, consistency, by annotator")
    parser.add_argument("--import", metavar="FILE", dest="imported", action="append", default=[],
                        help="add pairs, judged or not; exports of this, of Label Studio, of Argilla")  # fmt: skip
    parser.add_argument("--export", metavar="FILE", help="write everything, - prints it; *.pairs.jsonl: as --pairs")
    parser.add_argument("--pairs", action="store_true", help="with --export: the pairs to learn from")
    parser.add_argument("--overlap", metavar="N", type=int, default=1, help="of new items: how many people judge each")
    parser.add_argument("--repeat", metavar="FRACTION", type=float, default=REPEATED,
                        help=f"of the items, to be asked once more for the audit; default {REPEATED}")  # fmt: skip
    parser.add_argument("--seed", type=int, help="of a new set: the order in which responses are shown")
    parser.add_argument("--json", action="store_true", help="with --audit: print a record")
    args, unknown = parser.parse_known_intermixed_args(argv)
    if unknown:
        flags = [flag for flag in re.findall(r"(?<!\w)--[a-z]+", parser.format_help()) if unknown[0].startswith("-")]
        meant = did_you_mean(get_close_matches(unknown[0], flags, 1, 0.6))
        raise Failure(Exit.CONFIG, f"'{one_line(unknown[0], 60)}' is not expected{meant}")
    if args.overlap < 1 or (args.items is not None and args.items < 1):
        parser.error("--overlap and --items must be at least 1")
    if not 0 <= args.repeat <= 1:
        parser.error("--repeat must be from 0 to 1")
    if not 0 <= args.port <= 65535:
        parser.error("--port must be from 0 to 65535")
    if args.pairs and args.export is None:
        parser.error("--pairs goes with --export FILE")
    return args


def set_path(word: str) -> Path:
    """The file of a feedback set; of a directory, that of the run.

    Raises:
        Failure: exit 6, for a directory that is no run.
    """
    path, run = Path(word).expanduser(), run_of(word)
    if not path.is_dir():
        return path
    if run is not None:
        config = read_config(run)
        if isinstance(config, RlhfRun) and config.data.feedback is not None:
            return Path(config.data.feedback).expanduser()
    if not (path / "run.json").is_file() and not (path / FILE).is_file():
        raise Failure(Exit.RUN, f"{one_line(str(path))} is neither a run nor a feedback set")
    return path / FILE


def run_of(word: str) -> Path | None:
    """The directory of the run that ``word`` is, if it is one."""
    path = Path(word).expanduser()
    return path if is_run(path) else None


def seed_of(run: Path) -> int:
    """The seed of a run."""
    seed: int = read_config(run).seed
    return seed


def check_can_draw(path: Path, run: Path | None) -> None:
    """Check, before a set is made for a run that has none, that there is something to ask.

    Raises:
        Failure: exit 6, for a run that has no policy, or not yet.
    """
    if run is not None and not path.exists() and not (run / "policy").is_dir():
        raise Failure(Exit.RUN, without_policy(run))


def export(store: Store, name: str, pairs: bool, args: argparse.Namespace) -> None:
    """Write the set to a file, or to standard output.

    Raises:
        Failure: exit 2, for an ending that cannot be read again; exit 3, if there is no pair to write; exit 5, if it
            cannot be written.
    """
    standing, names = store.standing(), {one.id: one.name for one in store.annotators()}
    lines = pair_lines(standing, names) if pairs else list(lossless_lines(store))
    if not lines:
        raise Failure(Exit.DATA, f"{one_line(str(store.path))} has no judged pair yet", "no-pairs")
    text = "".join(f"{line}\n" for line in lines)
    if name == HERE:
        sys.stdout.write(text)
        return
    path = Path(name).expanduser()
    if path.suffix != ".jsonl":
        raise Failure(Exit.CONFIG, f"--export {one_line(name)}: it must end in .jsonl")
    try:
        replace(path, text)
    except OSError as error:
        what = f"{one_line(str(path))} cannot be written ({error.strerror})"
        raise Failure(Exit.STORAGE, f"{what}\nchoose another file") from error
    what = counted(len(lines), "pair") if pairs else counted(len(store.judgements()), "judgement")
    print(f"{what} written to {one_line(name)}", file=_told(args))


def collect(store: Store, run: Path | None, args: argparse.Namespace) -> int:
    """Collect judgements in the terminal or in the browser; of a run of which nothing is open, draw comparisons first.

    Raises:
        Failure: exit 6 and others, if nothing can be drawn.
    """
    names = args.annotator or [own_name()]
    if run is not None and not any(store.progress(store.annotator(name)).left for name in names):
        draw_comparisons(store, run, args.items or DRAWN, args.overlap)
    annotators = web_annotators(names, args) if args.web else terminal_annotator(names, args)
    with handled(_stop):
        annotators.collect(store, _enough(store, args.items))
    print(closing(store, Path(args.store)))
    return Exit.DONE


def check_can_ask(args: argparse.Namespace) -> None:
    """Check that there is a terminal, or what serves the page.

    Raises:
        Failure: exit 2, if there is not, or for several names at a terminal.
    """
    if args.web:
        check_web("--web")
    elif len(args.annotator) > 1:
        raise Failure(Exit.CONFIG, "one person works at a terminal: several names go with --web")
    elif not at_terminal():
        what = "judging needs a terminal; in the browser:"
        raise Failure(Exit.CONFIG, f"{what} {command('feedback', Path(args.store), '--web')}")


def draw_comparisons(store: Store, run: Path, count: int, overlap: int) -> None:
    """Let the policy of a run give responses to compare.

    Raises:
        Failure: exit 6, while it trains and without a policy; exit 2, 3 or 4, as its model and its data do.
    """
    if is_owned(run):
        what = f"{one_line(str(run))} is at work and nothing of it is open: comparisons are drawn once it has ended"
        raise Failure(Exit.RUN, what)
    from rlnlp.run.live import display

    with display().waiting("drawing responses to compare"):
        from rlnlp.commands.drawing import draw  # torch, which judging alone does not need

        drawn = draw(run, store, count, overlap)
    print(
        f"{counted(drawn, 'comparison')} drawn from {one_line(str(run))}, of prompts that it was trained on", flush=True
    )


def terminal_annotator(names: Sequence[str], args: argparse.Namespace) -> Annotators:
    """Who judges in this terminal."""
    from rlnlp.feedback.terminal.collect import TerminalAnnotator

    return TerminalAnnotator(names[0], args.instructions)


def web_annotators(names: Sequence[str], args: argparse.Namespace) -> Annotators:
    """Those who judge in the browser."""
    from rlnlp.feedback.web.server import WebAnnotators

    def say(line: str) -> None:
        print(line, flush=True)

    say("open the link in a browser on this machine; Ctrl-C ends it, and nothing that is confirmed is lost")
    return WebAnnotators(names, args.port, args.instructions, say)


def closing(store: Store, asked: Path) -> str:
    """What is told at the end; ``asked`` is the set or the run."""
    judged, wanted = store.answers(), store.wanted()
    again = f"; to go on: {command('feedback', asked)}" if wanted else ""
    return f"{counted(judged, 'judgement')} in {one_line(str(store.path))}, {wanted:,} wanted{again}"


def _enough(store: Store, items: int | None) -> Callable[[], bool]:
    """True once so many items have been answered."""
    if items is None:
        return lambda: False
    begun = store.answers()
    return lambda: store.answers() - begun >= items


def _stop(number: int, frame: FrameType | None) -> None:
    """A signal ends it as Ctrl-C does: the terminal is restored, and what was confirmed is saved already."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Stopped(number)


def _told(args: argparse.Namespace) -> TextIO:
    """Where what was done is told: not among what programs read."""
    return sys.stderr if args.json or args.export == HERE else sys.stdout


def _no_set(path: Path) -> Failure:
    make = command("feedback", path, "--import", "PAIRS.jsonl")
    return Failure(Exit.DATA, f"no feedback set {one_line(str(path))}\nto make one: {make}", "no-feedback")
