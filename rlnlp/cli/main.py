"""The command line: argv -> command -> exit status. Heavy imports come after the words are understood."""

import os
import sys

HYDRA = {  # command: (settings put before the user's, one line of help)
    "train": ((), "train with any algorithm: algo=ppo|reinforce|sft"),
    "ppo": (("algo=ppo",), "train a policy with PPO"),
    "sft": (("algo=sft",), "fit a language model to texts"),
    "reinforce": (("algo=reinforce",), "train a policy with REINFORCE"),
}
PLAIN = {  # command: (module with main(argv), one line of help)
    "resume": ("rlnlp.cli.resume", "continue an interrupted run, bit for bit, or a sweep"),
    "generate": ("rlnlp.commands.generate", "draw responses from a run or a model"),
    "explain": ("rlnlp.commands.explain.main", "what a setting means, and its name in TRL and verl"),
    "guide": ("rlnlp.commands.guide", "show the handbook, a page for each topic"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit status (``rlnlp.errors.Exit``)."""
    from rlnlp.cli.streams import lasting_streams

    words = sys.argv[1:] if argv is None else argv
    with lasting_streams() as streams:
        try:
            status: int = streams.status(_answer(words))
        except SystemExit as left:  # how argparse and Hydra's flags end
            raise SystemExit(streams.status(left.code)) from None
    return status


def _answer(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), flush=True)
        return 0
    if words[0] == "--version":
        from rlnlp import __version__

        print(f"rlnlp {__version__}")
        return 0
    if words[0] == "-sc":
        if not words[-1].startswith("query="):
            words = ["train", *words]
        else:
            found = complete(words[-1])
            if found is None:
                return 0
            words = found
    name, arguments = words[0], words[1:]
    if name not in HYDRA and name not in PLAIN:
        from rlnlp.config.parse import nearest

        print(f"rlnlp: no command '{name}'{nearest(name, [*HYDRA, *PLAIN])}\n\n{usage()}", file=sys.stderr)
        return 2
    from rlnlp.cli.exits import guarded

    return guarded(f"rlnlp {name}", lambda: _dispatch(name, arguments))


def usage() -> str:
    """What ``rlnlp --help`` prints."""
    lines = [f"  {name:<14}{help_}" for name, (_, help_) in [*HYDRA.items(), *PLAIN.items()]]
    return "\n".join(
        [
            "usage: rlnlp COMMAND [key=value ...] [-m]",
            "",
            "commands:",
            *lines,
            "",
            "rlnlp COMMAND --help lists what a command takes.",
            "rlnlp train --dry-run checks the settings, says what would be trained, and makes nothing.",
            'eval "$(rlnlp -sc install=bash)" turns on tab completion.',
        ]
    )


def complete(query: str) -> list[str] | None:
    """Answer a tab on the first word and return None; or take that word out of COMP_LINE and return Hydra's argv."""
    line = os.environ.get("COMP_LINE", "")
    words = line.split()[1:]
    if not words or (len(words) == 1 and not line.endswith(" ")):
        print(("\n" if "fish" in query else " ").join([*HYDRA, *PLAIN]))
        return None
    if words[0] not in HYDRA:
        return None
    from rlnlp.cli.hydra_words import flags_first

    settings = flags_first([*HYDRA[words[0]][0], *words[1:]])
    os.environ["COMP_LINE"] = " ".join(["rlnlp", *settings]) + " " * line.endswith(" ")
    return [words[0], "-sc", query]


def _dispatch(name: str, arguments: list[str]) -> int:
    if name in HYDRA:
        from rlnlp.cli.hydra_app import run

        return run(name, list(HYDRA[name][0]), arguments)
    from importlib import import_module

    status: int = import_module(PLAIN[name][0]).main(arguments)
    return status
