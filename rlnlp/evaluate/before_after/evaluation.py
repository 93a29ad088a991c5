"""Did it work? The first policy of a run, or another side, against the trained one, on prompts that it never saw."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlnlp import build
from rlnlp.config.description import description
from rlnlp.config.model import Model, Sampler
from rlnlp.config.reward import Reward
from rlnlp.config.schema import OnPolicyRun, Trained
from rlnlp.data.prompts import PromptTable, prompt_table
from rlnlp.data.sources import check_context_length
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.evaluate.before_after.draws import BATCH, Draws, Scoring
from rlnlp.evaluate.before_after.frontier import best_of_n_rows, frontier_rows
from rlnlp.evaluate.before_after.limits import not_shown, trained_on
from rlnlp.evaluate.before_after.paired import Resampling, Row, compared, pairs_for, values_of
from rlnlp.evaluate.before_after.request import FIRST, REFERENCES, Request
from rlnlp.evaluate.before_after.sides import Answering, answering, answers, references
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.resampling import few_prompts_notes
from rlnlp.models.locate import without_policy
from rlnlp.models.policy import logprob_fn, remembered
from rlnlp.rewards.model.coherence import coherence
from rlnlp.rewards.terms import Reward as RewardFunction
from rlnlp.rewards.terms import weighted_sum
from rlnlp.rng import stream
from rlnlp.run.manifest import changed_content, fingerprint, read_facts

MOST_PROMPTS, PAIRS = 512, 512
BEST_OF, SMALL = 16, 50_000_000  # samples a prompt for the best of n, for a model of so few weights
Waiting = Callable[[str], AbstractContextManager[object]]


@dataclass(frozen=True)
class Parts:
    """What an evaluation is made of: the first policy and the trained one, the prompts, and what measures."""

    first: Answering
    trained: Answering
    rows: Sequence[int]
    seen: int
    scoring: Scoring
    build_side: Callable[[Model], Answering]

    @property
    def small(self) -> bool:
        """True for a model that draws many samples in little time."""
        return sum(weight.numel() for weight in self.first.policy.parameters()) <= SMALL


def evaluate(request: Request, config: OnPolicyRun, waiting: Waiting) -> Row:
    """The record of an evaluation, as plain data; ``waiting(what)`` is a block around what takes a while.

    Raises:
        Failure: exit 2, 3, 4, 6 or 7, for what the settings, the data, a model, the run or a function get wrong.
    """
    with ExitStack() as kept:
        with waiting("loading the models"):
            parts = assembled(request, config, kept)
        samples = request.samples or max(2, math.ceil(PAIRS / len(parts.rows)))
        with waiting(f"drawing responses of each side ({len(parts.rows)} x {samples})"):
            before = _before(request, parts, samples)
            after = _drawn(request, parts, parts.trained, samples, "evaluate")
        shared = not request.independent and bool(np.isfinite(before.kl).all())  # of other tokens no draw is the same
        draw, streams = Resampling(request.seed), "same" if shared else "independent"
        with waiting("drawing for the best of n and the frontier"):
            count = request.best_of or max(samples, BEST_OF if parts.small else 1)
            first = before if request.against == FIRST and count <= samples else None
            first = first or _drawn(request, parts, parts.first, count, "best of n")
            frontier = frontier_rows(request.directory, draw, lambda model: _of_kept(request, parts, model))
        with waiting("drawing the prompts anew, for the intervals"):
            texts = [parts.scoring.table.records[row].get("reference") for row in parts.rows]
            record = compared(before, after, texts, pairs_for(before, after), draw)
            best = best_of_n_rows(first, count, draw)
    return {
        **_head(request, parts, samples, streams), **record, "best_of_n": best, "frontier": frontier,
        **_tail(request, config, parts, record, streams), "values": values_of(before, after),
    }  # fmt: skip


def assembled(request: Request, config: OnPolicyRun, kept: ExitStack) -> Parts:
    """Models, prompts and rewards; what lives as long as the evaluation is entered in ``kept``.

    Raises:
        Failure: as ``evaluate``.
    """
    stop, longest = config.sampler.stop_texts, config.sampler.max_new_tokens
    first = first_language(request.directory, config)
    check_context_length(longest, first.policy.context)
    room = first.policy.context - longest
    table = prompt_table(config.data, config.heldout.size, config.seed, first.tokenizer, room)
    trained_on = {table.records[row]["prompt"] for row in table.train}
    if request.prompts is not None:
        data = replace(config.data, prompts=request.prompts, heldout=None)
        table = prompt_table(data, 0, config.seed, first.tokenizer, room)
        rows = distinct_rows(table, table.train, config.seed)
    else:
        chosen_by = config.chosen_by_heldout and table.heldout_is_separate
        held = table.choosing_and_reporting(config.seed)[1] if chosen_by else table.heldout
        rows = distinct_rows(table, held, config.seed)
    seen = sum(table.records[row]["prompt"] in trained_on for row in rows)
    scoring = scoring_of(config.sampler, config.reward, request.judges or {}, first, table, kept)
    own = Answering(first.policy, table, rows, scoring.reference)

    def side(model: Model) -> Answering:
        loaded = build.language(replace(model, gradient_checkpointing=False), config.device, config.seed, stop)
        return answering(loaded, config, table, rows, first.tokenizer)

    trained = side(trained_model(request.directory, config))
    return Parts(own, trained, rows, seen, scoring, side)


def first_language(directory: Path, config: Trained) -> build.Language:
    """The model that a run began with.

    Raises:
        Failure: exit 2 or 4, as ``build.language``; exit 6, if it has changed since.
    """
    facts = read_facts(directory)
    known = facts.get("model_check") if isinstance(facts.get("model_check"), dict) else None
    first = build.language(config.model, config.device, config.seed, config.sampler.stop_texts, known)
    check_same_start(directory, facts, first)
    return first


def trained_model(directory: Path, config: Trained) -> Model:
    """Where the trained policy of a run is.

    Raises:
        Failure: exit 6, if it has not saved one yet.
    """
    if not (directory / "policy").is_dir():
        raise Failure(Exit.RUN, without_policy(directory))
    return replace(config.model, path=str(directory / "policy"), tokenizer=None)


def check_same_start(directory: Path, facts: Mapping[str, Any], first: build.Language) -> None:
    """Refuse a first model that has changed since the run began, where the machine lets that be known.

    Raises:
        Failure: exit 6.
    """
    known, then = facts.get("model_check"), facts.get("fingerprint")
    if not isinstance(known, dict) or not isinstance(then, dict) or first.findings is None:
        return
    now = fingerprint(int(then.get("threads", 1)), str(first.device))
    if then == now and known.get("content") != asdict(first.findings)["content"]:
        raise Failure(
            Exit.RUN,
            f"the model that {directory} began with has changed since\n"
            "say where it is now with model.path=DIR, or compare with another side: --against RUN|MODEL",
        )


def distinct_rows(table: PromptTable, rows: Sequence[int], seed: int) -> list[int]:
    """One row for each distinct prompt, at most ``MOST_PROMPTS`` of them, chosen by the seed."""
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(table.records[row]["prompt"], row)
    found = list(first.values())
    if len(found) <= MOST_PROMPTS:
        return found
    chosen = stream(seed, "evaluated prompts").choice(len(found), MOST_PROMPTS, replace=False)
    return [found[i] for i in sorted(chosen.tolist())]


def scoring_of(
    drawn: Sampler, reward: Reward, judges: Mapping[str, Reward], first: build.Language, table: PromptTable,
    kept: ExitStack,
) -> Scoring:  # fmt: skip
    """What measures responses to the prompts of ``table``: the reward and the judges.

    Raises:
        Failure: exit 2, 4 or 7, for what a reward gets wrong.
    """
    end = table.tokenizer.end
    unfiltered = build.distribution(drawn, end).unfiltered()
    plain = remembered(logprob_fn(first.policy, Distribution(1.0, 0, 1.0, 0, end), BATCH))
    tempered = plain if unfiltered.temperature == 1 else remembered(logprob_fn(first.policy, unfiltered, BATCH))
    likely = coherence(plain, len(table.tokenizer.raw))
    texts_of = remembered(table.texts)

    def rewarding(reward: Reward) -> tuple[RewardFunction, dict[str, str]]:
        load = build.function_loader(reward, nullcontext, kept.enter_context)
        terms, content = build.reward_terms(reward, texts_of, likely, first.device, load)
        return weighted_sum(terms, build.shapings(reward)), content

    rewarded, content = rewarding(reward)
    judging = {name: rewarding(each)[0] for name, each in judges.items()}
    return Scoring(table, rewarded, judging, tempered, plain, content)


def _before(request: Request, parts: Parts, samples: int) -> Draws:
    if request.against == REFERENCES:
        return references(parts.scoring, parts.rows, parts.first.policy.device)
    side = parts.first if request.other is None else parts.build_side(request.other)
    return _drawn(request, parts, side, samples, "evaluate against" if request.independent else "evaluate")


def _drawn(request: Request, parts: Parts, side: Answering, samples: int, name: str) -> Draws:
    device = parts.first.policy.device
    rng = stream(request.seed, name)
    return answers(side, request.config.sampler, parts.scoring, parts.rows, samples, rng, device)


def _of_kept(request: Request, parts: Parts, path: Path) -> Draws:
    side = parts.build_side(replace(request.config.model, path=str(path), tokenizer=None))
    return _drawn(request, parts, side, 2, "evaluate")


def _head(request: Request, parts: Parts, samples: int, streams: str) -> Row:
    return {
        "run": str(request.directory), "against": request.against, "n": len(parts.rows) * samples,
        "prompts": len(parts.rows), "samples": samples, "streams": streams, "seed": request.seed,
        "seen_in_training": parts.seen,
    }  # fmt: skip


def _tail(request: Request, config: OnPolicyRun, parts: Parts, record: Row, streams: str) -> Row:
    judges = request.judges or {}
    seen = [name for name, judge in judges.items() if request.rewarded and trained_on(judge, config.reward)]
    return {
        "notes": [*few_prompts_notes(len(parts.rows)), *_notes(request, streams, parts.scoring.content, seen)],
        "not_shown": list(not_shown(config, record, parts.seen, sorted(set(judges) - set(seen)), request.rewarded)),
        "settings": description(config),
    }  # fmt: skip


def _notes(request: Request, streams: str, content: Mapping[str, str], seen: Sequence[str]) -> Iterator[str]:
    for key in changed_content(request.directory, content):
        yield f"{key}: its content differs from what the run was rewarded with"
    if not request.rewarded:
        yield "the score is the gold reward: training knew of it by judgements alone"
    for name in seen:
        yield f"training rewarded what the judge {one_line(name, 40)} goes by: that it agrees says nothing new"
    if request.against == REFERENCES:
        yield "each prompt's reference stands for one response; it is compared with every response of the policy"
    elif streams == "independent":
        yield "the two sides drew with random numbers of their own"
    else:
        yield (
            "both sides drew with the same random numbers: where their responses stay alike the interval of the"
            " difference is narrower, and win rates are of different draws all the same"
        )
    if request.config.chosen_by_heldout and request.prompts is None:
        yield "held-out prompts that chose the step of policy/ are left out, where others are there"
