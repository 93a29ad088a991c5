"""``rlnlp evaluate RUN``: before against after on held-out prompts, with intervals, and a report to look at."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from rlnlp.commands.generate import config_of
from rlnlp.commands.preflight import all_of, faults
from rlnlp.commands.resume import check_named
from rlnlp.commands.words import parse_words, run_and_settings
from rlnlp.config.choices import choice, is_run, merged
from rlnlp.config.data import names_text
from rlnlp.config.parse import nearest, parse
from rlnlp.config.reward import REWARDS, Reward
from rlnlp.config.schema import OnPolicyRun, PpoRun, RewardModelRun, RlhfRun, SftRun
from rlnlp.errors import Exit, Failure, command, one_line, shell_word
from rlnlp.evaluate.before_after.request import FIRST, REFERENCES, Request
from rlnlp.models.locate import saved_reward_model
from rlnlp.run.manifest import read_config

USED = ("model", "sampler", "data", "reward", "device")  # groups of a run's settings that an evaluation reads
USED_BY_REWARD_MODEL = ("data", "device")
OF_POLICIES = ("against", "judge", "prompts", "samples", "best_of", "independent")  # flags
OWN_JUDGE = "its own reward model"  # of a run that fitted one
SEED = "seed"
Stored = TypeVar("Stored", bound=OnPolicyRun | SftRun | RewardModelRun | RlhfRun)


def main(argv: list[str]) -> int:
    """Evaluate, write the report, print the short of it.

    Raises:
        Failure: for what the user can fix.
    """
    args = arguments(argv)
    directory = run_directory(args.run)
    stored = read_config(directory)
    if isinstance(stored, RewardModelRun):
        return evaluate_reward_model(args, directory, stored, argv)
    request = requested(args, directory, stored)
    from rlnlp.run.live import display

    shown = display()
    with shown.waiting("loading torch"):
        from rlnlp.evaluate.before_after.evaluation import evaluate
        from rlnlp.evaluate.before_after.fit import evaluate_fit
        from rlnlp.evaluate.before_after.short import printed, write_report

    if isinstance(request.config, SftRun):
        record = evaluate_fit(request, request.config, shown.waiting)
    else:
        record = evaluate(request, request.config, shown.waiting)
    record["command"] = command("evaluate", *argv)
    with shown.waiting("drawing the report"):
        record["report"] = str(write_report(record, output_directory(directory, args)))
    if args.json:
        print(json.dumps({key: value for key, value in record.items() if key != "values"}, allow_nan=False))
    else:
        printed(record)
    return Exit.DONE


def evaluate_reward_model(args: argparse.Namespace, directory: Path, stored: RewardModelRun, argv: list[str]) -> int:
    """Measure a reward model again, write its report, print the short of it.

    Raises:
        Failure: for what the user can fix.
    """
    if flags := [name for name in OF_POLICIES if vars(args)[name]]:
        flag = f"--{flags[0].replace('_', '-')}"
        way = f"to have it judge another run: rlnlp evaluate RUN --judge {shell_word(directory)}"
        raise Failure(Exit.CONFIG, f"{flag} is for runs that train a policy; {directory} trained a reward model\n{way}")
    config, seeds = differing(args, directory, stored, USED_BY_REWARD_MODEL)
    if found := list(faults({"device": config.device})):
        raise all_of(found)
    from rlnlp.run.live import display

    shown = display()
    with shown.waiting("loading torch"):
        from rlnlp.evaluate.preferences import reward_model_printed, write_preference_report
        from rlnlp.evaluate.preferences.again import evaluate_again
    same = config.data == stored.data
    record = evaluate_again(directory, config, seed(seeds) if seeds else config.seed, same, shown.waiting)
    record["command"] = command("evaluate", *argv)
    with shown.waiting("drawing the report"):
        name = "" if config.data.heldout is None else names_text(config.data.heldout)
        where = directory if same else directory / "evaluations" / folder_name([name or "other-data"])
        record["report"] = str(write_preference_report(record, where))
    if args.json:
        print(json.dumps({key: value for key, value in record.items() if key != "values"}, allow_nan=False))
    else:
        reward_model_printed(record)
    return Exit.DONE


def arguments(argv: list[str]) -> argparse.Namespace:
    """The words of the command line.

    Raises:
        Failure: exit 2, for a word that is no setting.
    """
    parser = argparse.ArgumentParser(
        prog="rlnlp evaluate",
        description="Compare a run's policy with the one that it began with, on prompts that it was not trained on;"
        " of a reward model, say how far it can be trusted.",
        epilog="Settings: seed=1 (of the draws), sampler.temperature=0.7, device=cpu, data.heldout=FILE, ...",
    )
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("words", metavar="key=value", nargs="*", help="settings that are to differ from the run's")
    parser.add_argument(
        "--against", metavar="RUN|MODEL|references", help="another side instead of the policy that the run began with"
    )
    parser.add_argument(
        "--judge", metavar="JUDGE", action="append", default=[],
        help="a reward that training did not see: reward=NAME, a built-in term, FILE.py:FUNCTION, a run of rlnlp"
        " reward-model, or a classifier",
    )  # fmt: skip
    parser.add_argument("--prompts", metavar="FILE", help="prompts of a file instead of the run's held-out ones")
    parser.add_argument("-n", "--samples", type=int, help="responses per prompt; about 512 in all, if not given")
    parser.add_argument("--best-of", metavar="N", type=int, help="samples of the first policy for the best of n")
    parser.add_argument(
        "--independent", action="store_true", help="random numbers of its own for each side; else they share theirs"
    )
    parser.add_argument("--json", action="store_true", help="print all of it as a record")
    args = parse_words(parser, argv, PpoRun)
    args.run, args.words = run_and_settings([args.run, *args.words])
    for name in ("samples", "best_of"):
        if (value := vars(args)[name]) is not None and value < (2 if name == "samples" else 1):
            parser.error(f"--{name.replace('_', '-')} must be at least {2 if name == 'samples' else 1}")
    return args


def run_directory(name: str) -> Path:
    """The run that ``name`` is.

    Raises:
        Failure: exit 6, if it is none.
    """
    directory = Path(name).expanduser()
    if not is_run(directory):
        raise Failure(Exit.RUN, f"{directory} is not a run directory: it has no run.json with a config.yaml")
    return directory


def differing(
    args: argparse.Namespace, directory: Path, stored: Stored, used: tuple[str, ...]
) -> tuple[Stored, list[str]]:
    """The settings of the run with those that are to differ, of the groups ``used``; and the seeds that were typed.

    Raises:
        Failure: exit 2 or 6.
    """
    words = [word for word in args.words if word.partition("=")[0] != SEED]
    seeds = [word.partition("=")[2] for word in args.words if word.partition("=")[0] == SEED]
    other_groups = [word for word in words if word.partition("=")[0].partition(".")[0] not in used]
    if other_groups:
        key = one_line(other_groups[0].partition("=")[0], 60)
        raise Failure(Exit.CONFIG, f"'{key}' is not used by an evaluation; it reads {', '.join(used)} and seed")
    check_named(directory, stored, words, "evaluate")
    return parse(type(stored), merged(asdict(stored), words)), seeds


def requested(args: argparse.Namespace, directory: Path, stored: OnPolicyRun | SftRun | RlhfRun) -> Request:
    """What is asked for, checked as far as it can be without torch.

    Raises:
        Failure: exit 2, 3, 4, 6 or 7.
    """
    settings, seeds = differing(args, directory, stored, USED)
    config = settings.optimization if isinstance(settings, RlhfRun) else settings
    judges = {one_line(word, 60): judge(word) for word in args.judge}
    if isinstance(settings, RlhfRun) and saved_reward_model(str(directory)) is not None:
        judges[OWN_JUDGE] = _of_one_term("learned", {"run": str(directory)})
    found = [
        Failure(fault.code, "\n".join(f"--judge {name}: {line}" for line in str(fault).split("\n")))
        for name, reward in judges.items()
        for fault in faults({"reward": reward})
    ]
    found += list(faults({name: vars(config)[name] for name in ("model", "reward", "device") if name in vars(config)}))
    if found:
        raise all_of(found)
    against = args.against or FIRST
    other = None if against in (FIRST, REFERENCES) else config_of(against, []).model
    return Request(
        directory, replace(config, model=replace(config.model, gradient_checkpointing=False)), against, other, judges,
        args.prompts, args.samples, args.best_of, args.independent, seed(seeds), not isinstance(stored, RlhfRun),
    )  # fmt: skip


def seed(given: list[str]) -> int:
    """The seed of the draws.

    Raises:
        Failure: exit 2, for one that is no whole number.
    """
    if not given:
        return 0
    if not given[-1].isdecimal():
        raise Failure(Exit.CONFIG, f"seed must be a whole number >= 0, got '{one_line(given[-1], 40)}'")
    return int(given[-1])


def judge(word: str) -> Reward:
    """The reward that ``--judge WORD`` names.

    Raises:
        Failure: exit 2, for one that there is not.
    """
    group, equals, name = word.partition("=")
    if equals and group == "reward":
        return parse(Reward, choice("reward", name), "reward.")
    if ":" in word or word in REWARDS:
        return _of_one_term(word, {})
    path = Path(word).expanduser()
    if saved_reward_model(word) is not None:
        return _of_one_term("learned", {"run" if is_run(path) else "path": word})
    if is_run(path):
        raise Failure(Exit.CONFIG, f"--judge {one_line(word, 60)}: a run of {_algo(path)} holds no reward model")
    if not path.is_dir() and "/" not in word:
        hint = nearest(word, list(REWARDS))
        choices = "reward=NAME, a built-in term, FILE.py:FUNCTION, a run of reward-model or a classifier's directory"
        raise Failure(Exit.CONFIG, f"no judge '{one_line(word, 60)}'{hint}\nit is {choices}")
    return _of_one_term("classifier", {"path": word})


def _of_one_term(fn: str, args: Mapping[str, Any]) -> Reward:
    name = fn.rpartition(":")[2] or fn
    return parse(Reward, {"terms": {name: {"fn": fn, "args": dict(args)}}, "workers": 0}, "reward.")


def _algo(directory: Path) -> str:
    return str(asdict(read_config(directory))["algo"]["name"])


def output_directory(directory: Path, args: argparse.Namespace) -> Path:
    """Where the report goes: the run itself; below it for another comparison than with the first policy."""
    if args.against is None and args.prompts is None:
        return directory
    names = [args.against or "first-policy", *([args.prompts] if args.prompts is not None else [])]
    return directory / "evaluations" / folder_name(names)


def folder_name(names: Sequence[str]) -> str:
    """The name of the folder of an evaluation against, or on, what ``names`` says."""
    safe = [
        "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(name).as_posix()).strip("-.") for name in names
    ]
    return "-on-".join(safe)[-100:] or "other"
