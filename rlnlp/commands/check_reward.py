"""``rlnlp check-reward [FILE.py:FUNCTION]``: what reward functions give for a few responses, and how long they take."""

import argparse
import json
import time
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rlnlp.commands.preflight import check_files, usable
from rlnlp.commands.words import check_text, parse_words
from rlnlp.config.choices import choice, default_choice, merged, split_words
from rlnlp.config.description import left_out_lines
from rlnlp.config.parse import parse
from rlnlp.config.schema import RewardRun
from rlnlp.data.sources import check_context_length
from rlnlp.errors import Exit, Failure, counted, one_line, safe_text

if TYPE_CHECKING:
    from rlnlp.types import Rollout, Scores, Texts

ALGO = "reinforce"  # whose parts are in force where none is chosen
FLAGS = {"n": "-n", "prompts": "--prompts", "json": "--json"}  # by names typed as settings


@dataclass(frozen=True)
class Check:
    """What the terms gave for each response, and the seconds of each term for all of them."""

    texts: "Texts"
    scores: "Scores"
    seconds: dict[str, float]

    def records(self) -> dict[str, Any]:
        """All of it as plain data; None where a term abstains."""
        from rlnlp.evaluate.measure import given_means, given_row

        scores, pairs = self.scores, zip(self.texts.prompts, self.texts.completions, strict=True)
        means = given_means(scores.terms, scores.given)
        rows = [
            {"prompt": prompt, "response": response, "terms": given_row(scores.terms, scores.given, i),
             "score": float(scores.score[i])}
            for i, (prompt, response) in enumerate(pairs)
        ]  # fmt: skip
        terms = {name: {"mean": means.get(name), "seconds": seconds} for name, seconds in self.seconds.items()}
        return {"responses": rows, "terms": terms, "score": float(scores.score.mean())}


def main(argv: list[str]) -> int:
    """Draw responses, call each term, print.

    Raises:
        Failure: for what the user can fix.
    """
    args = arguments(argv)
    settings, words = split_words(args.words, RewardRun)
    check_text(words, RewardRun, FLAGS)
    if len(words) > 1:
        raise Failure(Exit.CONFIG, f"name one function, not {len(words)}; settings are typed as key=value")
    config, left = usable(parse(RewardRun, merged(base(next(iter(words), None), args.prompts), settings)))
    check_files(config)
    from rlnlp.run.live import display

    shown = display()
    for line in left_out_lines(left):
        shown.log_message(line)
    with shown.waiting("calling the reward"):
        found = check(config, args.n)
    print(json.dumps(found.records()) if args.json else "\n".join(lines(found)))
    return Exit.DONE


def arguments(argv: list[str]) -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(
        prog="rlnlp check-reward",
        description="Call a reward function, or every term of the reward, on a few responses of the model.",
        epilog="Settings: reward=classic, reward.terms.NAME.args.WORD=1, model=gpt2, seed=1, ... as for rlnlp train.",
    )
    parser.add_argument(
        "words", metavar="FILE.py:FUNCTION|key=value", nargs="*",
        help="a function of your own or a built-in term; none checks every term of the reward; and settings",
    )  # fmt: skip
    parser.add_argument("--prompts", metavar="FILE", help="prompts to answer, as for data.prompts")
    parser.add_argument("-n", type=int, default=4, help="responses, one to each of the first prompts")
    parser.add_argument("--json", action="store_true", help="print a record")
    args = parse_words(parser, argv, RewardRun)
    if args.n < 1:
        parser.error("-n must be at least 1")
    return args


def base(fn: str | None, prompts: str | None) -> dict[str, Any]:
    """The settings before the user's; with ``fn`` its function is the only term, under its own name."""
    groups = ("model", "sampler", "device", "data", "reward")
    found: dict[str, Any] = {group: choice(group, default_choice(group, ALGO) or "default") for group in groups}
    if fn is not None:
        found["reward"] = found["reward"] | {"terms": {fn.rpartition(":")[2] or fn: {"fn": fn}}}
    if prompts is not None:
        found["data"] = found["data"] | {"prompts": prompts}
    return {"seed": 0, **found}


def check(config: RewardRun, count: int) -> Check:
    """One response to each of the first ``count`` prompts, and what each term gives for them.

    Raises:
        Failure: exit 2, 3, 4 or 7, for what the settings, the data, the model or a function get wrong.
    """
    from rlnlp import build
    from rlnlp.data.prompts import prompt_table
    from rlnlp.maths.distribution import Distribution
    from rlnlp.models.policy import logprob_fn
    from rlnlp.rewards.model.coherence import coherence
    from rlnlp.rewards.terms import weighted_sum
    from rlnlp.rng import stream
    from rlnlp.rollout.sampling import sampler

    language, longest = build.language(config.model, config.device, config.seed), config.sampler.max_new_tokens
    policy, tokenizer = language.policy, language.tokenizer
    check_context_length(longest, policy.context)
    table = prompt_table(config.data, 0, config.seed, tokenizer, policy.context - longest)
    collect = sampler(policy, build.distribution(config.sampler, tokenizer.end), longest, tokenizer.pad)
    rollout = collect(table.batch(table.train[:count], language.device), stream(config.seed, "sampling", 1))
    likelihood = logprob_fn(policy, Distribution(1.0, 0, 1.0, 0, tokenizer.end), count)
    seconds: dict[str, float] = {}
    with ExitStack() as kept:
        load = build.function_loader(config.reward, nullcontext, kept.enter_context)
        try:
            terms, _ = build.reward_terms(
                config.reward, table.texts, coherence(likelihood, len(tokenizer.raw)), language.device, load
            )
            clocked = {name: (partial(_clocked, name, term, seconds), weight) for name, (term, weight) in terms.items()}
            scores = weighted_sum(clocked, build.shapings(config.reward))(rollout)
        except Failure as failure:
            more = "; RLNLP_TRACE=1 shows the traceback" if failure.code == Exit.REWARD else ""
            raise Failure(failure.code, f"{failure}{more}") from failure
    return Check(table.texts(rollout), scores, seconds)


def lines(found: Check) -> list[str]:
    """The check in words: each response with its values, then each term."""
    records, names = found.records(), list(found.seconds)
    shown: list[str] = []
    for row in records["responses"]:
        values = [f"{one_line(name, 40)} {_number(row['terms'][name])}" for name in names]
        values += [f"score {_number(row['score'])}"] if len(names) > 1 else []
        shown += [
            f"prompt    {one_line(row['prompt'], 200)}", f"response  {one_line(row['response'], 400)}",
            f"          {'  '.join(values)}", "",
        ]  # fmt: skip
    width = max(len(one_line(name, 40)) for name in [*names, "score"])
    count = len(records["responses"])
    shown.append(f"{'':<{width}}  {'mean':>8}  {'seconds':>8}")
    for name, term in records["terms"].items():
        each = f"{1000 * term['seconds'] / count:.1f} ms a response"
        shown.append(f"{one_line(name, 40):<{width}}  {_number(term['mean']):>8}  {term['seconds']:>8.3f}  {each}")
    shown.append(f"{'score':<{width}}  {_number(records['score']):>8}")
    return [safe_text(line) for line in [*shown, f"{counted(count, 'response')}; values before weights"]]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _clocked(name: str, term: Any, seconds: dict[str, float], rollout: "Rollout") -> Any:
    begun = time.monotonic()
    found = term(rollout)
    seconds[name] = time.monotonic() - begun
    return found
