"""The two sides of a comparison: a policy that answers the prompts of a run, or the reference texts of the data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rlnlp.build import Language, distribution
from rlnlp.config.model import Sampler
from rlnlp.config.schema import OnPolicyRun
from rlnlp.data.prompts import PromptTable, same_prompts
from rlnlp.data.sources import check_context_length
from rlnlp.errors import Exit, Failure
from rlnlp.evaluate.before_after.draws import BATCH, Draws, Scoring, given, measured, sampled
from rlnlp.models.policy import LogprobFn, Policy, logprob_fn
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.rollout.sampling import sampler


@dataclass(frozen=True)
class Answering:
    """A policy that answers: its ``table`` of the prompts ``rows`` of it.

    ``logprobs`` are its own at the sampling temperature; None if its tokenizer is another than that of the run: its
    texts are read anew by the run's, and there is no KL to the first policy.
    """

    policy: Policy
    table: PromptTable
    rows: Sequence[int]
    logprobs: LogprobFn | None


def answering(
    language: Language, config: OnPolicyRun, table: PromptTable, rows: Sequence[int], own: Tokenizer
) -> Answering:
    """``language`` as a side that answers the prompts ``rows`` of ``table``, which was made with the tokenizer ``own``.

    Raises:
        Failure: exit 3, for prompts that are too long for it.
    """
    if same_tokens(language.tokenizer, own):
        unfiltered = distribution(config.sampler, table.tokenizer.end).unfiltered()
        return Answering(language.policy, table, rows, logprob_fn(language.policy, unfiltered, BATCH))
    longest, context = config.sampler.max_new_tokens, language.policy.context
    check_context_length(longest, context)
    theirs = same_prompts(table, rows, config.data, language.tokenizer, context - longest)
    return Answering(language.policy, theirs, theirs.train, None)


def same_tokens(one: Tokenizer, other: Tokenizer) -> bool:
    """True if two tokenizers give the same tokens: their vocabularies and their end tokens are the same."""
    return one.end == other.end and one.same_words(other)


def answers(
    side: Answering, settings: Sampler, scoring: Scoring, rows: Sequence[int], samples: int,
    rng: np.random.Generator, device: torch.device,
) -> Draws:  # fmt: skip
    """``samples`` responses of ``side`` to each prompt, measured; ``rows`` are the prompts in the scoring's table."""
    tokenizer = side.table.tokenizer
    drawn = distribution(settings, tokenizer.end)
    collect = sampler(side.policy, drawn, settings.max_new_tokens, tokenizer.pad, tokenizer.stopper)
    rollouts = sampled(side.table, side.rows, collect, samples, rng, device)
    if side.logprobs is not None:
        return measured(rollouts, samples, scoring, side.logprobs)
    texts: list[list[str]] = []
    ended: list[list[bool]] = []
    for rollout in rollouts:
        said, stopped = side.table.texts(rollout).completions, rollout.ended.tolist()
        texts += [said[i : i + samples] for i in range(0, len(said), samples)]
        ended += [stopped[i : i + samples] for i in range(0, len(said), samples)]
    found = measured(given(scoring.table, rows, texts, device), samples, scoring, None)
    return found.with_endings(np.array(ended, dtype=float))


def references(scoring: Scoring, rows: Sequence[int], device: torch.device) -> Draws:
    """The reference texts of the data as responses, one to each prompt.

    Raises:
        Failure: exit 3, if a prompt has none.
    """
    texts = [scoring.table.records[row].get("reference") for row in rows]
    if None in texts:
        without = sum(text is None for text in texts)
        raise Failure(
            Exit.DATA,
            f"--against references: {without} of {len(rows)} held-out prompts have no 'reference' in the data",
        )
    return measured(given(scoring.table, rows, [[str(text)] for text in texts], device), 1, scoring, None)
