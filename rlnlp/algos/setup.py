"""What every on-policy algorithm is built on: the policy, its prompts, how it is sampled, rewarded and compared."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from rlnlp import build
from rlnlp.algos.observe import Observer
from rlnlp.algos.opening import Opening, Rows, opener
from rlnlp.batching import forward_in_micro_batches
from rlnlp.config import reward as settings
from rlnlp.config.algos import Optimization
from rlnlp.config.rates import open_rates, with_rates
from rlnlp.config.reward_model import RewardModelFit
from rlnlp.config.schema import OneStageRun, OnPolicyRun, RewardModelRun
from rlnlp.data.given import GivenTexts
from rlnlp.data.order import rows_of_step
from rlnlp.data.prompts import PromptTable, prompt_table
from rlnlp.data.sources import check_context_length
from rlnlp.device import DTYPES
from rlnlp.evaluate.best import Outcome, Views, measure_result, policy_result, save_result
from rlnlp.evaluate.measure import Measurement, measure, score_gain
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.kl import k1
from rlnlp.models.policy import LogprobFn, Policy, logprob_fn, remembered
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.processes.rows import own, process_count, whole
from rlnlp.rewards.divided import divided
from rlnlp.rewards.model.coherence import coherence
from rlnlp.rewards.terms import Reward, Term, weighted_sum
from rlnlp.rollout.sampling import Collect, sampler
from rlnlp.run.display import OF_TERM
from rlnlp.run.run import Run
from rlnlp.types import PolicyOutput, Prompts, Rollout

C = TypeVar("C", bound=OneStageRun)


@dataclass(frozen=True)
class OnPolicySetup:
    """``prompts`` are those of a step; ``distribution`` is the one that tokens are drawn from, filters included.

    ``rows`` says how many of the ``table`` are for what. ``first`` is the policy as it was at the start, and
    ``collect_first`` draws from it as ``collect`` draws from the policy. ``terms`` are those of the ``reward`` with
    their weights, which read the texts of rollouts from ``given``.
    ``logprobs`` are of the policy as it is when called, ``reference`` of the policy as it was at the start, ``kl`` is
    k1 of the two: (B, T), without filters and without a gradient. ``begin`` prints what the run does, given what learns
    and a trial step, and returns the first measurement; ``save_result`` saves policy/ and returns the last one.
    """

    policy: Policy
    first: Policy
    tokenizer: Tokenizer
    table: PromptTable
    rows: Rows
    distribution: Distribution
    prompts: Callable[[int], Prompts]
    collect: Collect
    collect_first: Collect
    terms: dict[str, tuple[Term, float]]
    given: GivenTexts
    reward: Reward
    logprobs: LogprobFn
    reference: LogprobFn
    kl: Callable[[Rollout], Tensor]
    begin: Opening[Measurement]
    save_result: Callable[[], Outcome[Measurement]]
    observe: Observer


def load_language(config: C, run: Run) -> tuple[C, build.Language]:
    """The model of the config with its tokenizer; and the config with the learning rates that follow from its size.

    Raises:
        Failure: exit 2 or 4, for what the config or the model gets wrong.
    """
    with run.display.waiting("loading the model"):
        language = build.loaded_language(config, run)
    return _decided(config, language, run), language


def load_reading_language(
    config: RewardModelRun, run: Run
) -> tuple[RewardModelRun, build.Language | build.EncoderLanguage]:
    """The same for a reward model, which may stand on an encoder.

    Raises:
        Failure: as ``load_language``.
    """
    with run.display.waiting("loading the model"):
        language = build.loaded_reading_language(config, run)
    return _decided(config, language, run), language


def _decided(config: C, language: build.Language | build.EncoderLanguage, run: Run) -> C:
    """The config with the learning rates that follow from the model's size."""
    run.computes_on(language.device, config.device.threads, process_count())
    known = run.facts.get("decided", {})
    algo: Any = with_rates(config.algo, learned_parameters(config.algo, language), known, config.model.lora.on)
    asked: Any = run.asked.algo
    config = replace(config, algo=algo)
    run.decide(config, {name: vars(algo)[name] for name in open_rates(asked)})
    return config


def learned_parameters(algo: Optimization, language: build.Language | build.EncoderLanguage) -> int:
    """How many weights learn, by which the learning rate is decided; a reward model's head is too few to count.

    Of an adapter those of its base.
    """
    if isinstance(algo, RewardModelFit) and algo.frozen_trunk:
        return 0
    return language.size()


def on_policy_setup(config: OnPolicyRun, language: build.Language, run: Run) -> OnPolicySetup:
    """Everything around the algorithm's own loop; the reference is the policy as it is now.

    Raises:
        Failure: exit 2, 3, 4 or 7, for what the config, the data, the model or a reward function get wrong.
    """
    policy, longest = language.policy, config.sampler.max_new_tokens
    check_context_length(longest, policy.context)
    table = prompt_table(config.data, config.heldout.size, config.seed, language.tokenizer, policy.context - longest)
    tokenizer = table.tokenizer
    distribution = build.distribution(config.sampler, tokenizer.end)
    size, tokens = config.algo.micro_batch_size, config.algo.micro_batch_tokens
    policy.share_prompts(config.device.share_prompts)
    start = policy.reference(DTYPES.get(config.model.reference_dtype))
    reference = remembered(logprob_fn(start, distribution.unfiltered(), size, tokens))
    untempered = Distribution(1.0, 0, 1.0, 0, tokenizer.end)
    likelihood = reference if distribution.temperature == 1 else remembered(logprob_fn(start, untempered, size, tokens))
    given = GivenTexts(table, policy.context, language.device)
    with run.display.waiting("loading the reward"):
        terms, run.facts["code"] = build.reward_terms(
            config.reward, given, coherence(likelihood, len(tokenizer.raw)), language.device,
            build.function_loader(config.reward, run.signals.user_code, run.keep),
        )  # fmt: skip
    reward = weighted_sum(timed_terms(terms, config.reward, run), build.shapings(config.reward))
    collect, collect_first = (
        run.timed("sampling", sampler(each, distribution, longest, tokenizer.pad, tokenizer.stopper))
        for each in (policy, start)
    )
    unfiltered = partial(policy, distribution=distribution.unfiltered())

    @torch.no_grad()
    def logprobs(rollout: Rollout) -> Tensor:
        output: PolicyOutput = forward_in_micro_batches(unfiltered, own(rollout), size, policy.shares, tokens)
        return whole(output.logprobs, len(rollout.mask))

    def kl(rollout: Rollout) -> Tensor:
        return k1(logprobs(rollout), reference(rollout))

    def prompts(step: int) -> Prompts:
        rows = rows_of_step(len(table.train), config.algo.batch_size, step, config.seed)
        return table.batch([table.train[i] for i in rows], language.device)

    def view(rows: list[int], name: str) -> Measurement:  # with the same numbers each time: a paired comparison
        return measure(table, rows, collect, reward, kl, run.rng(name), language.device)

    choosing, reporting = table.choosing_and_reporting(config.seed)
    views = Views(
        "other draws" if choosing == reporting else "other prompts", partial(view, table.heldout, "heldout"),
        partial(view, choosing, "heldout"), partial(view, reporting, "reporting"),
    )  # fmt: skip
    observe = Observer(config, table, views.choosing, run)
    notes = [*table.notes, *sharing_notes(config, policy)]
    rows = Rows(len(table.train), len(table.heldout), table.heldout_is_separate, notes)
    begin = opener(config, run, language.device, rows, partial(measure_result, run, views))
    return OnPolicySetup(
        policy, start, tokenizer, table, rows, distribution, prompts, collect, collect_first, terms, given,
        run.timed("reward", reward), logprobs, run.timed("kl", reference), run.timed("kl", kl), begin,
        partial(save_result, run, policy_result(run, policy, tokenizer), views, score_gain), observe,
    )  # fmt: skip


def timed_terms(
    terms: Mapping[str, tuple[Term, float]], reward: settings.Reward, run: Run
) -> dict[str, tuple[Term, float]]:
    """The terms with their weights, each with its time in timing.jsonl; several processes share them."""
    return {
        name: (run.timed(f"{OF_TERM}{name}", divided(term, reward.terms[name])), weight)
        for name, (term, weight) in terms.items()
    }


def sharing_notes(config: OnPolicyRun, policy: Policy) -> Iterator[str]:
    """Whether the responses to a prompt share it, if there are several."""
    count = config.algo.num_generations
    if count > 1 and policy.shares:
        yield f"computed once for its {count} responses where that is less work (device.share_prompts=auto)"
    elif count > 1 and config.device.share_prompts == "auto":
        yield f"computed for each of its {count} responses: this model cannot share a prompt"
