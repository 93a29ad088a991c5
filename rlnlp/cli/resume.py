"""``rlnlp resume DIRECTORY [key=value ...]``: continue a run, or do what is missing of a sweep."""

from pathlib import Path

from rlnlp.cli.hydra_words import quoted
from rlnlp.cli.main import HYDRA
from rlnlp.cli.sweep import read_command
from rlnlp.commands import resume
from rlnlp.config.changes import declaration
from rlnlp.errors import Exit, Failure, command, one_line
from rlnlp.run.find import is_sweep
from rlnlp.run.manifest import SECRET


def main(argv: list[str]) -> int:
    """Resume.

    Raises:
        Failure: for what the user can fix.
    """
    args = resume.arguments(argv)
    directory = Path(args.run).expanduser()
    return resume_sweep(directory, args.words) if is_sweep(directory) else resume.main(argv)


def resume_sweep(directory: Path, named: list[str]) -> int:
    """Leave complete jobs alone, resume those that have begun, run the others.

    ``named`` name code and secrets again, which a directory must not name and does not hold.

    Raises:
        Failure: exit 6, if the sweep cannot be read or more must be named; exit 2, for settings that would change it.
    """
    from rlnlp.cli.hydra_app import run

    for word in named:
        key = word.partition("=")[0].lstrip("+")
        known = declaration(key)
        if not SECRET.search(key.rpartition(".")[2]) and not (known and known["code"]):
            what = f"'{one_line(word, 60)}' would change the settings of a sweep, which stay as they are"
            way = command("resume", directory / "NUMBER", "key=value")
            raise Failure(Exit.CONFIG, f"{what}\nto change one of its runs: {way}")
    name, words = read_command(directory)
    if name not in HYDRA:
        raise Failure(Exit.RUN, f"{directory} names no command that sweeps: {one_line(name, 40)}")
    return run(name, list(HYDRA[name][0]), [*words, *named, f"hydra.sweep.dir={quoted(str(directory))}"], named)
