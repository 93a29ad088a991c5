"""The command line: argv -> command -> exit status. Heavy imports come after the words are understood."""

import sys

HYDRA = {  # command: (settings put before the user's, one line of help)
    "train": ((), "train with algo=ppo|reinforce|reward-model|rlhf|sft"),
    "ppo": (("algo=ppo",), "train a policy with PPO"),
    "sft": (("algo=sft",), "fit a language model to texts"),
    "reinforce": (("algo=reinforce",), "train a policy with REINFORCE"),
    "reward-model": (("algo=reward-model",), "fit a reward model to answers that people judged"),
    "rlhf": (("algo=rlhf",), "rounds of asking people, fitting a reward model, optimizing"),
    "check": ((), "what would go wrong with a run and what it takes, before it"),
}
PLAIN = {  # command: (module with main(argv), one line of help)
    "resume": ("rlnlp.cli.resume", "continue an interrupted run, bit for bit, or a sweep"),
    "evaluate": ("rlnlp.commands.evaluate", "whether a run worked: before and after, intervals, a report"),
    "generate": ("rlnlp.commands.generate", "draw responses from a run or a model"),
    "rank": ("rlnlp.commands.rank", "score texts with a reward model, the best first"),
    "runs": ("rlnlp.commands.runs", "the runs there are, and how to continue the unfinished ones"),
    "compare": ("rlnlp.commands.compare", "runs or a sweep: what differs, statistics over seeds, plots"),
    "feedback": ("rlnlp.commands.feedback", "people compare responses, in the terminal or in the browser"),
    "check-reward": ("rlnlp.commands.check_reward", "what a reward function gives for a few responses, and its time"),
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
    if argv is None:
        from rlnlp.cli.exits import leave_threads

        leave_threads(status)
    return status


def _answer(words: list[str]) -> int:
    if words[:1] == ["help"] and len(words) > 1:
        words = _help_about(words[1])
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), flush=True)
        return 0
    if words[0] == "--version":
        from rlnlp import __version__

        print(f"rlnlp {__version__}")
        return 0
    name, arguments = words[0], words[1:]
    from rlnlp.cli.exits import guarded

    if {"-sc", "--shell-completion"} & set(words[:2]):
        return guarded("rlnlp", lambda: _complete(words[-1]))
    if name not in HYDRA and name not in PLAIN:
        from rlnlp.cli.words import refuse_command

        return guarded("rlnlp", lambda: refuse_command(words, [*HYDRA, *PLAIN]))
    return guarded(f"rlnlp {name}", lambda: _dispatch(name, arguments))


def _help_about(word: str) -> list[str]:
    """The command that ``rlnlp help WORD`` stands for: a command's own help, a page of the handbook, a setting."""
    if word in HYDRA or word in PLAIN:
        return [word, "--help"]
    from rlnlp.commands.guide import TOPICS

    return ["guide" if word in TOPICS else "explain", word]


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
            "rlnlp COMMAND --help lists what a command takes;",
            "rlnlp help WORD explains a command, a topic of the handbook, or a setting;",
            "rlnlp train --dry-run says what would be trained on what, and makes nothing;",
            'eval "$(rlnlp -sc install=bash)" turns on tab completion; also zsh, fish.',
        ]
    )


def _complete(request: str) -> int:
    from rlnlp.cli.completion import candidates
    from rlnlp.cli.shells import answer

    def find(words: list[str], last: str) -> list[tuple[str, str]]:
        training = {name: fixed for name, (fixed, _) in HYDRA.items()}
        return [(one.text, one.help) for one in candidates(words, last, training, PLAIN)]

    return answer(request, find)


def _dispatch(name: str, arguments: list[str]) -> int:
    if name in HYDRA:
        from rlnlp.cli.hydra_app import run

        return run(name, list(HYDRA[name][0]), arguments)
    from importlib import import_module

    status: int = import_module(PLAIN[name][0]).main(arguments)
    return status
