"""``rlnlp generate RUN|MODEL [PROMPT ...]``: draw responses."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlnlp.commands.words import check_text, parse_words
from rlnlp.config.choices import choice, is_run, merged, split_words
from rlnlp.config.conversations import Conversations
from rlnlp.config.data import Reading
from rlnlp.config.parse import parse
from rlnlp.config.schema import GenerateRun
from rlnlp.errors import Exit, Failure, safe_text
from rlnlp.models.chat import check_template
from rlnlp.models.locate import locate, locate_tokenizer
from rlnlp.run.manifest import read_config

if TYPE_CHECKING:
    from rlnlp.models.chat import Prompt
    from rlnlp.rollout.generate import Response

FLAGS = {  # by names typed as settings
    "n": "-n", "num_return_sequences": "-n", "file": "--file", "json": "--json", "system": "--system", "chat": "--chat",
}  # fmt: skip


def main(argv: list[str]) -> int:
    """Draw and print.

    Raises:
        Failure: for what the user can fix.
    """
    args = arguments(argv)
    settings, words = split_words([args.source, *args.words], GenerateRun)
    check_text(words, GenerateRun, FLAGS)
    if not words:
        raise Failure(Exit.CONFIG, "name a run or a model: rlnlp generate RUN|MODEL ...")
    config = config_of(words[0], settings)
    if args.system is not None:
        config = replace(config, data=replace(config.data, system=args.system))
    if args.chat:
        check_alone(args, words[1:])
    prompts = [] if args.chat else given_prompts(words[1:], args.file, config.data)
    locate(config.model)
    check_template(config.data, locate_tokenizer(config.model), args.chat or not all_plain(prompts, config.data))
    from rlnlp.run.live import display

    with display().waiting("loading the model"):
        from rlnlp import build

        policy = build.loaded_policy(config)
    for note in policy.notes:
        display().log_message(note)
    if args.chat:
        from rlnlp.commands.chat import converse

        return converse(policy)
    for note in policy.notes_on(prompts):
        display().log_message(note)
    responses = policy.generate(prompts, args.n)
    if args.json:
        print(json.dumps(responses))
    else:
        print_responses(responses)
    return Exit.DONE


def arguments(argv: list[str]) -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(
        prog="rlnlp generate",
        description="Draw responses from the policy of a run, or from any causal language model.",
        epilog="Settings: sampler.temperature=0.7, sampler=greedy, seed=1, device=cpu, ... as for rlnlp train.",
    )
    parser.add_argument(
        "source", metavar="RUN|MODEL", help="a run, one of its checkpoints, a model directory, a hub id, or 'embedded'"
    )
    parser.add_argument("words", metavar="PROMPT|key=value", nargs="*", help="prompts as plain words, and settings")
    parser.add_argument("--file", help="prompts from a file, as data.prompts names it")
    parser.add_argument("--system", metavar="TEXT", help="ask each prompt as the user's turn behind this system's turn")
    parser.add_argument("--chat", action="store_true", help="a conversation in the terminal, until Ctrl-D")
    parser.add_argument("-n", type=int, default=1, help="responses per prompt")
    parser.add_argument("--json", action="store_true", help="print a list of records")
    args = parse_words(parser, argv, GenerateRun)
    if args.n < 1:
        parser.error("-n must be at least 1")
    return args


def config_of(source: str, settings: list[str]) -> GenerateRun:
    """What ``source`` and the words ``settings`` stand for.

    Raises:
        Failure: exit 2, for a wrong setting; exit 6, for a run that has not saved a policy yet.
    """
    return parse(GenerateRun, merged(base(source), settings))


def base(source: str) -> dict[str, Any]:
    """The settings before the user's: those of the run, or conf's defaults with the model's path.

    Raises:
        Failure: exit 6, for a run that has not saved a policy yet.
    """
    directory = Path(source).expanduser()
    of_run = directory.parent.parent  # of a checkpoint, or of a policy in models/
    if not is_run(directory) and is_run(of_run) and (directory / "policy").is_dir():
        return _of_run(of_run, directory / "policy")
    if not is_run(directory):
        groups: dict[str, Any] = {"model": choice("model", "embedded") | {"path": source}}
        return {
            "seed": 0,
            **groups,
            "sampler": choice("sampler", "default"),
            "device": choice("device", "auto"),
            "data": _reading(),
        }
    if not (directory / "policy").is_dir():
        raise Failure(Exit.RUN, f"{directory} has no policy/ yet: the run has not finished")
    return _of_run(directory, directory / "policy")


def _of_run(directory: Path, policy: Path) -> dict[str, Any]:
    run = asdict(read_config(directory))
    model = run["model"] | {"path": str(policy), "tokenizer": None}
    data = _reading() | {f.name: run["data"][f.name] for f in fields(Conversations)}
    return {"seed": run["seed"], "model": model, "sampler": run["sampler"], "device": run["device"], "data": data}


def _reading() -> dict[str, Any]:
    """How a file of prompts is read if nothing is said of it: it need not be written as the run's own data are."""
    defaults = choice("data", "default")
    return {f.name: defaults[f.name] for f in fields(Reading)}


def given_prompts(words: list[str], file: str | None, reading: Reading) -> list["Prompt"]:
    """Prompts from the command line, else from the file, else from stdin, a line each; of a file also conversations.

    Raises:
        Failure: exit 2 without any, exit 3 for a bad file.
    """
    from rlnlp.data.sources import file_prompts

    if words and file:
        raise Failure(Exit.CONFIG, "give prompts as words or with --file, not both")
    if words:
        return [*words]
    if file is not None:
        return [record.get("messages") or record["prompt"] for _, record in file_prompts("--file", file, reading)]
    if sys.stdin.isatty():
        raise Failure(Exit.CONFIG, "no prompt: give it as words, with --file, or on standard input")
    try:
        lines = [line.strip() for line in sys.stdin.buffer.read().decode().split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise Failure(Exit.DATA, "standard input is not UTF-8") from error
    if not lines:
        raise Failure(Exit.DATA, "no prompt on standard input")
    return [*lines]


def check_alone(args: argparse.Namespace, words: list[str]) -> None:
    """Check that nothing is asked for that a conversation in the terminal has no use for.

    Raises:
        Failure: exit 2, with what it is.
    """
    given = {"a prompt": words, "--file": args.file, "-n": args.n > 1, "--json": args.json}
    other = [name for name, value in given.items() if value]
    if other:
        raise Failure(Exit.CONFIG, f"--chat reads what you say from the terminal; leave out {', '.join(other)}")


def all_plain(prompts: Sequence["Prompt"], data: Conversations) -> bool:
    """True if no prompt is a conversation or will be made one."""
    return data.system is None and all(isinstance(prompt, str) for prompt in prompts)


def print_responses(responses: list["Response"]) -> None:
    """Print each prompt with its response; bold prompts in a terminal."""
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    for record in responses:
        joint = "" if record["response"][:1].isspace() or record["prompt"][-1:].isspace() else " "
        print(f"{bold}{safe_text(record['prompt'])}{plain}{joint}{safe_text(record['response'])}")
