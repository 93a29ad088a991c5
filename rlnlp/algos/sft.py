"""Supervised fine-tuning: make given texts likely (maximum likelihood), one optimizer step per batch."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from rlnlp import build
from rlnlp.algos.opening import Prepared, Rows, opening
from rlnlp.algos.optim import descend, learning_rate, optimizers
from rlnlp.algos.setup import load_language
from rlnlp.algos.update import TokenLosses, accumulate_gradient
from rlnlp.batching import chunks, micro_batches
from rlnlp.config.algos import Sft
from rlnlp.config.schema import SftRun
from rlnlp.data.order import alike_rows_of_step
from rlnlp.data.texts import TextTable, check_texts, text_table
from rlnlp.evaluate.best import Views, measure_result, policy_result, save_result
from rlnlp.evaluate.fit import Fit, finish_run, loss_gain, text_losses
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.losses import negative_log_likelihood
from rlnlp.models.policy import Policy
from rlnlp.models.sharding import share_weights
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.processes.rows import own
from rlnlp.rollout.sampling import Collect, sampler
from rlnlp.run.run import Run
from rlnlp.types import Rollout


def train(
    policy: Policy,
    distribution: Distribution,
    batches: Callable[[int], Rollout],
    observe: Callable[[int], dict[str, float]],
    algo: Sft,
    run: Run,
) -> None:
    """Descend the mean negative log-likelihood per token of each batch."""
    optimizer_parts = optimizers(policy, algo)
    for step in run.steps(algo.total_steps, {"policy": policy, **optimizer_parts}):
        batch = batches(step)
        loss, means = accumulate(policy, distribution, batch, algo)
        figures = {"loss": loss, **means, "grad_norm": descend(optimizer_parts, step, algo)}
        figures["learning_rate"] = learning_rate(algo, step)
        run.log(step, episodes=len(batch.mask), tokens=int(batch.mask.sum()), **figures, **observe(step))


def accumulate(policy: Policy, distribution: Distribution, batch: Rollout, algo: Sft) -> tuple[float, dict[str, float]]:
    """Leave the gradient of the loss over the whole batch in the policy. Returns the loss and the mean entropy.

    Where there are several processes, the gradient is of this one's rows.
    """
    mine = own(batch)

    def loss_fn(part: Rollout) -> TokenLosses:
        out = policy(part, distribution)
        return TokenLosses(negative_log_likelihood(out.logprobs), part.mask, {"entropy": out.entropy})

    size, tokens = algo.micro_batch_size, algo.micro_batch_tokens
    in_order = chunks(mine, len(mine.mask), size)
    parts = in_order if tokens is None else micro_batches(mine, mine, size, tokens=tokens)
    return accumulate_gradient(parts, loss_fn, batch.mask, "tokens")


def trial_step(
    policy: Policy, distribution: Distribution, batches: Callable[[int], Rollout], algo: Sft, step: int
) -> float:
    """Seconds that a step takes, from one that changes nothing."""
    begun = time.monotonic()
    accumulate(policy, distribution, batches(step), algo)
    policy.zero_grad(set_to_none=True)
    return time.monotonic() - begun


@dataclass(frozen=True)
class SftSetup:
    """``batches`` are those of a step, scored under ``distribution``; ``collect`` draws from the policy as it is.

    ``rows`` says how many of the ``table`` are for what. The ``tokenizer`` may end turns of a conversation too.
    """

    policy: Policy
    tokenizer: Tokenizer
    table: TextTable
    rows: Rows
    distribution: Distribution
    batches: Callable[[int], Rollout]
    collect: Collect


def prepare(config: SftRun, language: build.Language, run: Run) -> Prepared[SftSetup, Policy]:
    """What stands before the first step.

    Raises:
        Failure: exit 2 or 3, for what the data get wrong.
    """
    policy, device, algo = language.policy, language.device, config.algo
    table = text_table(config.data, config.heldout.size, config.seed, language.tokenizer, policy.context)
    check_texts(table)
    tokenizer = table.tokenizer
    fitted = Distribution(algo.loss_temperature, 0, 1.0, 0, tokenizer.end)
    drawn = build.distribution(config.sampler, tokenizer.end)
    collect = sampler(policy, drawn, config.sampler.max_new_tokens, tokenizer.pad, tokenizer.stopper)

    lengths = [len(table.rows[r].completion) for r in table.train]

    def batches(step: int) -> Rollout:
        rows = alike_rows_of_step(lengths, algo.batch_size, step, config.seed)
        return table.batch([table.train[i] for i in rows], device)

    rows = Rows(len(table.train), len(table.heldout), table.heldout_is_separate, table.notes)
    setup = SftSetup(policy, tokenizer, table, rows, fitted, batches, collect)
    share_weights(config.device, policy)
    return Prepared(setup, policy, {"policy": policy}, partial(trial_step, policy, fitted, batches, algo))


def main(config: SftRun, run: Run) -> None:
    """Build the parts of the config, measure, train, measure again, and report."""
    config, language = load_language(config, run)
    made, device, algo = prepare(config, language, run), language.device, config.algo
    setup, policy, table = made.around, made.around.policy, made.around.table

    def view(rows: list[int]) -> Fit:
        return measure_fit(policy, setup.distribution, table, rows, setup.collect, run, algo.micro_batch_size, device)

    choosing, reporting = table.choosing_and_reporting(config.seed)
    views = Views(
        "the same texts" if choosing == reporting else "other texts", partial(view, table.heldout),
        partial(view, choosing), partial(view, reporting),
    )  # fmt: skip

    def observe(step: int) -> dict[str, float]:
        if run.due(config.samples.every, step):
            keep_samples(table, setup.collect, run, step, config.samples.show, device)
        return {"heldout/loss": float(views.choosing().loss.mean())} if run.due(config.heldout.every, step) else {}

    before = opening(config, run, device, setup.rows, partial(measure_result, run, views), made.parts, made.trial)
    train(policy, setup.distribution, setup.batches, observe, algo, run)
    finish_run(run, before, save_result(run, policy_result(run, policy, setup.tokenizer), views, loss_gain), table)


@torch.no_grad()
def measure_fit(
    policy: Policy, fitted: Distribution, table: TextTable, rows: list[int], collect: Collect, run: Run, size: int,
    device: torch.device,
) -> Fit:  # fmt: skip
    """The mean nats per token of each text of ``rows``, and a few texts that the policy writes itself."""
    loss = text_losses(policy, fitted, table, rows, size, device)
    rollout = collect(table.prompts(rows[:3], device), run.rng("heldout"))
    return Fit(rows, loss, written(table, rollout))


def written(table: TextTable, rollout: Rollout) -> list[tuple[str, str]]:
    """Prompt and response of each row, in words."""
    rows = zip(rollout.prompts.rows.tolist(), rollout.responses.cpu(), rollout.mask.cpu(), strict=True)
    return [table.response(number, row[mask].tolist()) for number, row, mask in rows]


def keep_samples(table: TextTable, collect: Collect, run: Run, step: int, show: int, device: torch.device) -> None:
    """A few texts of the policy into samples.jsonl."""
    rollout = collect(table.prompts(table.heldout[:3], device), run.rng("samples", step))
    texts = written(table, rollout)
    run.sample(step, [{"prompt": prompt, "response": response, "score": None} for prompt, response in texts], show)
