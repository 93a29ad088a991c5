"""Did supervised training work: the loss of held-out texts before and after, and what judges say of responses."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from rlnlp import build
from rlnlp.config.description import description
from rlnlp.config.schema import SftRun
from rlnlp.data.prompts import PromptTable
from rlnlp.data.texts import TextTable, text_table
from rlnlp.errors import Exit, Failure
from rlnlp.evaluate.before_after.draws import Draws
from rlnlp.evaluate.before_after.evaluation import (
    MOST_PROMPTS,
    PAIRS,
    Waiting,
    first_language,
    scoring_of,
    trained_model,
)
from rlnlp.evaluate.before_after.paired import Resampling, Row, compared, difference, pairs_for, values_of
from rlnlp.evaluate.before_after.request import REFERENCES, Request
from rlnlp.evaluate.before_after.sides import Answering, answers, same_tokens
from rlnlp.evaluate.fit import text_losses
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.resampling import few_prompts_notes
from rlnlp.models.policy import logprob_fn
from rlnlp.rng import stream

SIZE = 32  # texts at once
WORST = 5


def evaluate_fit(request: Request, config: SftRun, waiting: Waiting) -> Row:
    """The record of an evaluation of an sft run, as plain data.

    Raises:
        Failure: exit 2, 3, 4, 6 or 7, for what the settings, the data, a model, the run or a judge get wrong.
    """
    if request.against == REFERENCES or request.prompts is not None:
        raise Failure(Exit.CONFIG, "an sft run is measured on its held-out texts: leave out --prompts and references")
    with waiting("loading the models"):
        first = first_language(request.directory, config)
        trained = _language(config, trained_model(request.directory, config))
        other = first if request.other is None else _language(config, request.other)
        if not same_tokens(other.tokenizer, trained.tokenizer):
            raise Failure(Exit.MODEL, f"{request.against} has another tokenizer: a loss per token cannot be compared")
        table = text_table(config.data, config.heldout.size, config.seed, first.tokenizer, first.policy.context)
    rows = _rows(table, config)
    fitted = Distribution(config.algo.loss_temperature, 0, 1.0, 0, table.tokenizer.end)
    with waiting("measuring the loss"):
        old, new = (
            text_losses(side.policy, fitted, table, rows, SIZE, side.device).double().numpy()
            for side in (other, trained)
        )
    draw = Resampling(request.seed)
    loss = difference(old, new, draw, "nats per token")
    assert loss is not None, "there is a text"
    seen = 0 if table.heldout_is_separate else len(rows)
    return {
        "run": str(request.directory), "against": request.against, "n": len(rows), "prompts": len(rows), "samples": 1,
        "streams": "independent" if request.independent else "same", "seed": request.seed, "seen_in_training": seen,
        "loss": loss, "perplexity": {"before": math.exp(loss["before"]), "after": math.exp(loss["after"])},
        "verdict": _verdict(loss), "worst_texts": _worst(table, rows, old, new),
        **(_judged(request, config, first, other, trained, table, rows, draw, waiting) if request.judges else {}),
        "notes": few_prompts_notes(len(rows)), "not_shown": list(_not_shown(request, seen, len(rows))),
        "settings": description(config),
    }  # fmt: skip


def _language(config: SftRun, model: Any) -> build.Language:
    return build.language(model, config.device, config.seed, config.sampler.stop_texts)


def _rows(table: TextTable, config: SftRun) -> list[int]:
    chosen_by = config.chosen_by_heldout and table.heldout_is_separate
    held = table.choosing_and_reporting(config.seed)[1] if chosen_by else table.heldout
    return held[:MOST_PROMPTS]


def _verdict(loss: Row) -> str:
    ends = loss["difference_interval"]
    if ends is None or ends[0] <= 0 <= ends[1]:
        return "no difference shown"
    return "better" if ends[1] < 0 else "worse"


def _worst(table: TextTable, rows: Sequence[int], old: Any, new: Any) -> list[Row]:
    """The texts whose loss rose most, the worst first."""
    order = np.argsort(old - new, kind="stable")[:WORST]
    texts = table.texts([rows[i] for i in order])
    return [
        {"prompt": prompt, "completion": completion, "before": float(old[i]), "after": float(new[i]),
         "difference": float(new[i] - old[i])}
        for i, (prompt, completion) in zip(order, texts, strict=True)
        if new[i] > old[i]
    ]  # fmt: skip


def _judged(
    request: Request, config: SftRun, first: build.Language, other: build.Language, trained: build.Language,
    table: TextTable, rows: Sequence[int], draw: Resampling, waiting: Waiting,
) -> Row:  # fmt: skip
    """What the judges say of responses to the texts' prompts, the first of them as the score.

    Texts without prompts are all begun alike: each pair of draws is then a unit of its own.
    """
    prompts = _prompts(table, rows)
    judges = dict(request.judges or {})
    name = next(iter(judges))
    samples = request.samples or max(2, math.ceil(PAIRS / len(prompts.train)))
    with ExitStack() as kept, waiting("drawing responses for the judges"):
        scoring = scoring_of(config.sampler, judges.pop(name), judges, first, prompts, kept)
        unfiltered = build.distribution(config.sampler, prompts.tokenizer.end).unfiltered()

        def drawn(side: build.Language, stream_name: str) -> Draws:
            answering = Answering(side.policy, prompts, prompts.train, logprob_fn(side.policy, unfiltered, SIZE))
            rng = stream(request.seed, stream_name)
            return answers(answering, config.sampler, scoring, prompts.train, samples, rng, first.device)

        before = drawn(other, "evaluate against" if request.independent else "evaluate")
        after = drawn(trained, "evaluate")
    references = [prompts.records[row].get("reference") for row in prompts.train]
    record = compared(before, after, references, pairs_for(before, after), draw)
    record["judges"] = {name: record.pop("score"), **record["judges"]}
    record["win_rates"] = {name if key == "score" else key: rate for key, rate in record["win_rates"].items()}
    del record["verdict"]
    if len(record["terms"]) == 1:  # the judge itself
        record["terms"] = {}
    return {**record, "samples": samples, "values": values_of(before, after)}


def _prompts(table: TextTable, rows: Sequence[int]) -> PromptTable:
    """The prompts of texts, their completions as references."""
    texts = table.texts(rows)
    records: list[Any] = [{"prompt": prompt, "reference": completion} for prompt, completion in texts]
    if not any(prompt.strip() for prompt, _ in texts):
        records = [{"prompt": prompt} for prompt, _ in texts]
    everything = list(range(len(rows)))
    return PromptTable(records, [table.rows[row].prompt for row in rows], everything, everything, table.tokenizer)


def _not_shown(request: Request, seen: int, count: int) -> Iterator[str]:
    yield "Whether its texts are better: the loss says how likely held-out texts are, not what it writes."
    if not request.judges:
        yield "What its own responses are like: no judge was asked; --judge reward=NAME draws and scores some."
    if seen:
        yield f"How it does on texts that are new to it: {seen} of the {count} texts were seen in training."
    yield "Whether another seed of the same settings comes out alike: this is one run; rlnlp compare takes several."
