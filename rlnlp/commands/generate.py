"""``rlnlp generate RUN|MODEL [PROMPT ...]``: draw responses, of several models side by side, and score them."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlnlp.commands.default_terms import without_references
from rlnlp.commands.preflight import all_of, faults
from rlnlp.commands.resume import check_named
from rlnlp.commands.side_by_side import print_responses
from rlnlp.commands.words import check_text, lines_of_stdin, parse_words
from rlnlp.config.choices import choice, is_run, merged, split_words
from rlnlp.config.conversations import Conversations
from rlnlp.config.data import Reading
from rlnlp.config.parse import parse
from rlnlp.config.schema import GenerateRun, OnPolicyRun, ScoreRun
from rlnlp.data.formats import Record
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.models.chat import check_template
from rlnlp.models.locate import locate, locate_tokenizer, without_policy
from rlnlp.run.manifest import read_config

if TYPE_CHECKING:
    from rlnlp.models.chat import Prompt

FLAGS = {  # by names typed as settings
    "n": "-n", "num_return_sequences": "-n", "file": "--file", "json": "--json", "system": "--system", "chat": "--chat",
    "with": "--with", "score": "--score",
}  # fmt: skip


def main(argv: list[str]) -> int:
    """Draw and print.

    Raises:
        Failure: for what the user can fix.
    """
    args = arguments(argv)
    settings, words = split_words([args.source, *args.words], ScoreRun)
    check_text(words, ScoreRun, FLAGS)
    if not words:
        raise Failure(Exit.CONFIG, "name a run or a model: rlnlp generate RUN|MODEL ...")
    if args.chat:
        check_alone(args, words[1:])
    of_reward = [word for word in settings if word.startswith("reward")]
    if of_reward and not args.score:
        raise Failure(Exit.CONFIG, f"'{one_line(of_reward[0], 60)}' says what is rewarded: add --score")
    others = [word for word in settings if word not in of_reward]
    sources = {source: _asked(config_of(source, others), args) for source in [words[0], *args.beside]}
    first = sources[words[0]]
    records = [] if args.chat else given_records(words[1:], args.file, first.data)
    for config in sources.values():
        locate(config.model)
        needed = args.chat or not all_plain([record["prompt"] for record in records], config.data)
        check_template(config.data, locate_tokenizer(config.model), needed)
    scored = score_settings(words[0], settings, records) if args.score else None
    if args.chat:
        from rlnlp.commands.answers import loaded
        from rlnlp.commands.chat import converse

        return converse(loaded(first))
    from rlnlp.commands.answers import drawn

    found = drawn(sources, records, args.n, scored, run_of(words[0]))
    if args.json:
        print(json.dumps([{key: value for key, value in each.items() if key != "number"} for each in found]))
    else:
        print_responses(found, in_table=scored is not None or len(sources) > 1)
    return Exit.DONE


def _asked(config: GenerateRun, args: argparse.Namespace) -> GenerateRun:
    return config if args.system is None else replace(config, data=replace(config.data, system=args.system))


def score_settings(source: str, settings: list[str], records: Sequence[Record]) -> ScoreRun:
    """What ``--score`` scores with: the reward of the run that ``source`` is, with the ``settings`` over it.

    Raises:
        Failure: exit 2 or 6, with the words to type; exit 3, 4 or 7 for what a term lacks.
    """
    from rlnlp.run.live import display

    directory, given = run_of(source), base(source)
    run = None if directory is None else read_config(directory)
    if isinstance(run, OnPolicyRun):
        check_named(Path(source), run, settings, "generate", ("--score",))
        given["reward"] = asdict(run)["reward"]
    elif not any(word.startswith("reward=") for word in settings):
        what = f"--score: {one_line(source, 60)} has no reward of its own; name one"
        raise Failure(Exit.CONFIG, f"{what}: reward=default, or another (rlnlp help reward)")
    config = parse(ScoreRun, merged(given | ({} if "reward" in given else {"reward": {}}), settings))
    reward, left = without_references(config.reward, records)
    for name, why in left.items():
        display().log_message(f"reward.terms.{one_line(name, 40)} is left out: {why}")
    if found := list(faults({"reward": reward})):
        raise all_of(found)
    return replace(config, reward=reward)


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
    parser.add_argument(
        "--with", metavar="RUN|MODEL", dest="beside", action="append", default=[],
        help="another run or model that answers the same prompts; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--score", action="store_true",
        help="score the responses with the run's reward, or with that of reward=NAME, and print the best first",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print a list of records")
    args = parse_words(parser, argv, ScoreRun)
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
    directory, run = Path(source).expanduser(), run_of(source)
    if run is None:
        groups: dict[str, Any] = {"model": choice("model", "embedded") | {"path": source}}
        return {
            "seed": 0,
            **groups,
            "sampler": choice("sampler", "default"),
            "device": choice("device", "auto"),
            "data": _reading(),
        }
    if not (directory / "policy").is_dir():
        raise Failure(Exit.RUN, without_policy(directory))
    return _of_run(run, directory / "policy")


def run_of(source: str) -> Path | None:
    """The run that ``source`` is, or whose checkpoint or kept model it is; None for any other model."""
    directory = Path(source).expanduser()
    above = directory.parent.parent
    if is_run(directory):
        return directory
    return above if is_run(above) and (directory / "policy").is_dir() else None


def _of_run(directory: Path, policy: Path) -> dict[str, Any]:
    run = asdict(read_config(directory))
    model = run["model"] | {"path": str(policy), "tokenizer": None}
    data = _reading() | {f.name: run["data"][f.name] for f in fields(Conversations)}
    return {"seed": run["seed"], "model": model, "sampler": run["sampler"], "device": run["device"], "data": data}


def _reading() -> dict[str, Any]:
    """How a file of prompts is read if nothing is said of it: it need not be written as the run's own data are."""
    defaults = choice("data", "default")
    return {f.name: defaults[f.name] for f in fields(Reading)}


def given_records(words: list[str], file: str | None, reading: Reading) -> list[Record]:
    """Records of prompts: words of the command line, else of the file, also conversations, else the lines of stdin.

    Raises:
        Failure: exit 2 without any, exit 3 for a bad file.
    """
    from rlnlp.data.sources import file_prompts

    if words and file:
        raise Failure(Exit.CONFIG, "give prompts as words or with --file, not both")
    if words:
        return [{"prompt": word} for word in words]
    if file is not None:
        return [_with_prompt(record) for _, record in file_prompts("--file", file, reading)]
    return [{"prompt": line} for line in lines_of_stdin("prompt")]


def _with_prompt(record: Record) -> Record:
    """A record whose conversation, if it has one, is its prompt."""
    rest = {key: value for key, value in record.items() if key != "messages"}
    return {**rest, "prompt": record.get("messages") or record["prompt"]}


def check_alone(args: argparse.Namespace, words: list[str]) -> None:
    """Check that nothing is asked for that a conversation in the terminal has no use for.

    Raises:
        Failure: exit 2, with what it is.
    """
    given = {"a prompt": words, "--file": args.file, "-n": args.n > 1, "--json": args.json,
             "--with": args.beside, "--score": args.score}  # fmt: skip
    other = [name for name, value in given.items() if value]
    if other:
        raise Failure(Exit.CONFIG, f"--chat reads what you say from the terminal; leave out {', '.join(other)}")


def all_plain(prompts: Sequence["Prompt"], data: Conversations) -> bool:
    """True if no prompt is a conversation or will be made one."""
    return data.system is None and all(isinstance(prompt, str) for prompt in prompts)
