"""Supervised fine-tuning: make given texts likely (maximum likelihood), one optimizer step per batch."""

from collections.abc import Callable

import torch

from rlnlp import build
from rlnlp.algos.optim import backward, descend, learning_rate, optimizers
from rlnlp.config.algos import Sft
from rlnlp.config.schema import SftRun
from rlnlp.data.order import alike_rows_of_step
from rlnlp.data.texts import TextTable, check_texts, text_table
from rlnlp.evaluate.fit import Fit, finish_run
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.losses import negative_log_likelihood
from rlnlp.maths.masked import masked_mean, reduce
from rlnlp.models.policy import Policy, context_length
from rlnlp.rollout.sampling import Collect, sampler
from rlnlp.run.run import Run
from rlnlp.types import Rollout, chunks


def train(
    policy: Policy,
    distribution: Distribution,
    batches: Callable[[int], Rollout],
    observe: Callable[[int], dict[str, float]],
    c: Sft,
    run: Run,
) -> None:
    """Descend the mean negative log-likelihood per token of each batch."""
    steppers = optimizers(policy, c)
    for step in run.steps(c.total_steps, {"policy": policy, **steppers}):
        batch = batches(step)
        total, loss_sum, entropy_sum = int(batch.mask.sum()), 0.0, 0.0
        for part in chunks(batch, len(batch.mask), c.micro_batch_size):
            out = policy(part, distribution)
            loss = reduce(negative_log_likelihood(out.logprobs), part.mask, total)
            backward(loss)
            loss_sum += loss.item()
            entropy_sum += out.entropy.sum().item()
        grad_norm = descend(steppers, step, c)
        figures = {"loss": loss_sum, "entropy": entropy_sum / total, "grad_norm": grad_norm}
        figures["learning_rate"] = learning_rate(c, step)
        run.log(step, episodes=len(batch.mask), tokens=total, **figures, **observe(step))


def main(c: SftRun, run: Run) -> None:
    """Put the parts of the config together, measure, train, measure again, and tell."""
    language = build.language(c.model, c.device, c.seed)
    run.computes_on(language.device, c.device.threads)
    policy, tokenizer, device = language.policy, language.tokenizer, language.device
    table = text_table(c.data, c.heldout.size, c.seed, tokenizer, context_length(policy))
    check_texts(table)
    fitted = Distribution(c.algo.loss_temperature, 0, 1.0, 0, tokenizer.end)
    collect = sampler(policy, build.distribution(c.sampler, tokenizer.end), c.sampler.max_new_tokens, tokenizer.pad)

    lengths = [len(table.pairs[r][1]) for r in table.train]

    def batches(step: int) -> Rollout:
        rows = alike_rows_of_step(lengths, c.algo.batch_size, step, c.seed)
        return table.batch([table.train[i] for i in rows], device)

    def fit() -> Fit:
        return measure_policy(policy, fitted, table, collect, run, c.algo.micro_batch_size, device)

    def observe(step: int) -> dict[str, float]:
        if run.due(c.samples.every, step):
            keep_samples(table, collect, run, step, c.samples.show, device)
        return {"heldout/loss": float(fit().loss.mean())} if run.due(c.heldout.every, step) else {}

    before = fit()
    train(policy, fitted, batches, observe, c.algo, run)
    finish_run(run, before, fit(), policy, tokenizer)


@torch.no_grad()
def measure_policy(
    policy: Policy, fitted: Distribution, table: TextTable, collect: Collect, run: Run, size: int, device: torch.device
) -> Fit:
    """The mean nats per token of each held-out text, and a few texts that the policy writes itself."""
    losses = []
    for start in range(0, len(table.heldout), size):
        batch = table.batch(table.heldout[start : start + size], device)
        out = policy(batch, fitted)
        losses += [masked_mean(-lp, m) for lp, m in zip(out.logprobs, batch.mask, strict=True)]
    rollout = collect(table.prompts(table.heldout[:3], device), run.rng("heldout"))
    return Fit(torch.stack(losses).cpu(), written(table, rollout))


def written(table: TextTable, rollout: Rollout) -> list[tuple[str, str]]:
    """Prompt and response of each row, in words."""
    before = [table.pairs[r][0] for r in rollout.prompts.rows.tolist()]
    rows = zip(before, rollout.responses.cpu(), rollout.mask.cpu(), strict=True)
    decode = table.tokenizer
    return [(decode.decode(ids), decode.decode_rest(ids, row[mask].tolist())) for ids, row, mask in rows]


def keep_samples(table: TextTable, collect: Collect, run: Run, step: int, show: int, device: torch.device) -> None:
    """A few texts of the policy into samples.jsonl."""
    rollout = collect(table.prompts(table.heldout[:3], device), run.rng("samples", step))
    texts = written(table, rollout)
    run.sample(step, [{"prompt": prompt, "response": response, "score": None} for prompt, response in texts], show)
