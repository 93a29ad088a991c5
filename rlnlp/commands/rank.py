"""``rlnlp rank RUN [TEXT ...]``: a reward model scores texts, the best first."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rlnlp.commands.side_by_side import print_responses
from rlnlp.commands.words import check_text, lines_of_stdin, parse_words
from rlnlp.config.choices import choice, merged, split_words
from rlnlp.config.conversations import Conversations
from rlnlp.config.data import Reading
from rlnlp.config.parse import parse
from rlnlp.config.schema import RankRun
from rlnlp.data.candidates import Candidate, file_candidates, file_labels, typed_candidates
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.models.chat import conversation_text
from rlnlp.models.locate import locate_reward_model, without_reward_model

Scored = tuple[Candidate, float]
FLAGS = {"prompt": "--prompt", "file": "--file", "json": "--json", "by": "--by"}  # by names typed as settings
SCALE = (
    "A reward model of rlnlp is normalized: on the responses that it was normalized on, scores have mean 0 and, among"
    " the responses to one prompt, a standard deviation of 1. Of a model of others the score is its raw logit."
    " Settings: device=cpu, data.columns={text: COLUMN}, data.encoding=cp1252, model.allow_download=true, ..."
)


def main(argv: list[str]) -> int:
    """Score and print.

    Raises:
        Failure: for what the user can fix.
    """
    args = arguments(argv)
    settings, words = split_words([args.source, *args.words], RankRun)
    check_text(words, RankRun, FLAGS, "text")
    if not words:
        raise Failure(Exit.CONFIG, "name a reward model: rlnlp rank RUN TEXT ...")
    config = config_of(words[0], settings)
    directory = Path(words[0]).expanduser()
    if lacking := without_reward_model(directory):
        raise Failure(Exit.RUN, lacking)
    path = locate_reward_model("the reward model", words[0], config.model.allow_download, "model.allow_download")
    candidates = given_candidates(words[1:], args, config.data)
    if args.by is not None:
        return print_by(path, words[0], config, candidates, args)
    from rlnlp.commands.ranking import scored

    scores = scored(path, config, candidates)
    order = best_first(scores)
    if args.json:
        print(json.dumps([record(candidates[i], scores[i]) for i in order], allow_nan=False))
    else:
        print_scored(by_prompt([(candidates[i], scores[i]) for i in order], candidates))
    return Exit.DONE


def arguments(argv: list[str]) -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(
        prog="rlnlp rank", description="Score texts with a reward model and print the best first.", epilog=SCALE
    )
    parser.add_argument(
        "source", metavar="RUN",
        help="a run of rlnlp reward-model, its reward_model/ folder, or the folder or hub id of any"
        " sequence-classification model with one label",
    )  # fmt: skip
    parser.add_argument(
        "words", metavar="TEXT|key=value", nargs="*", help="texts as plain words, and settings; without texts, lines of"
        " standard input are read",
    )  # fmt: skip
    parser.add_argument("--prompt", metavar="P", help="the prompt that all texts are answers to")
    parser.add_argument(
        "--file", help="texts from a file: a line each (.txt), or records with 'text', with 'prompt' and 'completion',"
        " or with 'messages', which the reward model's own chat template shows",
    )  # fmt: skip
    parser.add_argument(
        "--by", metavar="COLUMN=VALUE", help="with --file, instead of the texts: how often those with this value score"
        " higher than those with each other one; of a run also before it learned, with a picture in RUN",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print a list of records")
    return parse_words(parser, argv, RankRun)


def print_by(path: str, source: str, config: RankRun, candidates: list[Candidate], args: argparse.Namespace) -> int:
    """Print how often the texts that ``--by`` names score higher than others.

    Raises:
        Failure: for what the user can fix.
    """
    from rlnlp.commands.rank_by import asked_kind, draw, lines, rank_by, records

    if args.file is None:
        raise Failure(Exit.CONFIG, "--by needs --file: a file whose records have the column")
    column, value = asked_kind(args.by)
    labels = file_labels("--file", args.file, config.data, column)
    kinds = rank_by(path, source, config, candidates, labels, args.by)
    drawn = draw(kinds, args.by, Path(source).expanduser())
    if args.json:
        print(json.dumps(records(kinds), allow_nan=False))
        return Exit.DONE
    print("\n".join(lines(kinds, args.by, labels.count(value))))
    if drawn:
        print(f"as a picture: {one_line(str(drawn))}")
    return Exit.DONE


def config_of(source: str, settings: list[str]) -> RankRun:
    """What the words ``settings`` stand for.

    Raises:
        Failure: exit 2, for a wrong setting, or for one that a reward model does not obey.
    """
    defaults = choice("data", "default")
    reading = {f.name: defaults[f.name] for f in fields(Reading)}
    model = choice("model", "embedded") | {"path": source}
    config = parse(RankRun, merged({"model": model, "device": choice("device", "auto"), "data": reading}, settings))
    for f in fields(Conversations):
        if vars(config.data)[f.name] != reading[f.name]:
            raise Failure(Exit.CONFIG, f"data.{f.name}: a reward model shows conversations by its own chat template")
    return config


def given_candidates(words: list[str], args: argparse.Namespace, reading: Reading) -> list[Candidate]:
    """Words of the command line, else the texts of the file, else the lines of standard input.

    Raises:
        Failure: exit 2 without any, exit 3 for a bad file.
    """
    if words and args.file is not None:
        raise Failure(Exit.CONFIG, "give texts as words or with --file, not both")
    if args.file is not None:
        return file_candidates("--file", args.file, reading, args.prompt)
    return typed_candidates(words or lines_of_stdin("text"), args.prompt)


def best_first(scores: Sequence[float]) -> list[int]:
    """The places of the scores from the highest on; equal ones stay in their order."""
    return sorted(range(len(scores)), key=lambda i: -scores[i])


def by_prompt(scored: Sequence[Scored], candidates: Sequence[Candidate]) -> list[list[Scored]]:
    """The texts of each prompt, the prompts in the order of the input."""
    groups: dict[str, list[Scored]] = {json.dumps(each.prompt): [] for each in candidates}
    for one in scored:
        groups[json.dumps(one[0].prompt)].append(one)
    return list(groups.values())


def record(candidate: Candidate, score: float) -> dict[str, Any]:
    """A text with its score as plain data, and its prompt if it has one."""
    found = {"text": candidate.text, "score": score}
    return found if candidate.prompt is None else {"prompt": candidate.prompt, **found}


def print_scored(groups: Sequence[Sequence[Scored]]) -> None:
    """Print the texts of each prompt below it."""
    rows = [
        {"number": i, "prompt": prompt_of(candidate), "response": candidate.text, "model": "", "score": score}
        for i, group in enumerate(groups)
        for candidate, score in group
    ]
    print_responses(rows, in_table=True)


def prompt_of(candidate: Candidate) -> str | None:
    """The prompt as people read it; None if there is none."""
    prompt = candidate.prompt
    return conversation_text(prompt) if isinstance(prompt, list) else prompt
