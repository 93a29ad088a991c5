"""How well a language model fits held-out texts, before and after."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlnlp.data.texts import TextTable
from rlnlp.evaluate.advice import settings_of
from rlnlp.evaluate.best import Outcome, outcome_facts, outcome_lines
from rlnlp.evaluate.findings import result_findings
from rlnlp.evaluate.report import data_file, evaluate_command, finish, generate_command, title
from rlnlp.evaluate.summary import Report, table_row
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.masked import masked_mean
from rlnlp.maths.statistics import mean_interval
from rlnlp.models.policy import Policy
from rlnlp.processes.rows import own_of, whole
from rlnlp.run.run import Run


@dataclass(frozen=True)
class Fit:
    """``loss`` (N,) mean nats per token of each text; ``samples`` (prompt, response) that the model writes.

    ``rows`` are the texts' rows in the table.
    """

    rows: Sequence[int]
    loss: Tensor
    samples: list[tuple[str, str]]


@torch.no_grad()
def text_losses(
    policy: Policy, fitted: Distribution, table: TextTable, rows: Sequence[int], size: int, device: torch.device
) -> Tensor:
    """The mean nats per token of each text of ``rows``, (N,), ``size`` texts at once; several processes share them."""
    losses = []
    mine = own_of(rows)
    for start in range(0, len(mine), size):
        batch = table.batch(mine[start : start + size], device)
        out = policy(batch, fitted)
        losses += [masked_mean(-lp, m) for lp, m in zip(out.logprobs, batch.mask, strict=True)]
    return whole(torch.stack(losses), len(rows)).cpu()


def finish_run(run: Run, before: Fit, outcome: Outcome[Fit], table: TextTable) -> None:
    """Draw the curves, write the result and print it."""
    after = outcome.after
    result = {**comparison(before, after), **outcome_facts(run, outcome)}
    result["health"] = dict(result_findings(result, settings_of(run.config)))
    separate, texts = table.heldout_is_separate, table.texts(before.rows)
    kind = "held-out texts" if separate else "training texts (none are held out)"
    old, new = result["before"]["loss"], result["after"]["loss"]
    perplexities = ("perplexity", f"{math.exp(old):.2f}", f"{math.exp(new):.2f}", "")
    report = Report(
        title(run.config, "held-out loss" if separate else "loss", old, new),
        f"{kind}: {result['n']}",
        [table_row("loss, nats per token", old, new, new - old, result["difference"]["interval"]), perplexities],
        list(outcome_lines(result)),
        list(result["health"].values()),
        [(prompt, b, a) for (prompt, b), (_, a) in zip(before.samples, after.samples, strict=True)],
        [next_command(run, after), evaluate_command(run)],
    )
    rows = heldout_rows(texts, before, after)
    finish(run, report, result, rows, {"heldout/loss": (old, new)}, outcome.device)


def next_command(run: Run, after: Fit) -> str:
    """What to type for responses: to the prompt of a text, or else to how a text begins."""
    prompts = [prompt.strip() for prompt, _ in after.samples]
    file = data_file(run.config) if any(prompts) else []
    prompts += [" ".join(text.split()[:3]) for _, text in after.samples] if not file else []
    return generate_command(run.directory, prompts, file)


def heldout_rows(texts: list[tuple[str, str]], before: Fit, after: Fit) -> Iterator[dict[str, Any]]:
    """A record for each held-out text, prompt and completion, for heldout.jsonl: both losses, nats per token."""
    for (prompt, completion), old, new in zip(texts, before.loss.tolist(), after.loss.tolist(), strict=True):
        yield {"prompt": prompt, "completion": completion, "before": {"loss": old}, "after": {"loss": new}}


def loss_gain(one: Fit, other: Fit) -> Tensor:
    """How much lower the loss of ``one`` is, (N,), by text."""
    return other.loss - one.loss


def comparison(before: Fit, after: Fit) -> dict[str, Any]:
    """The result for ``run.json``; the 95 % interval is paired by text."""
    mean, low, high = mean_interval(after.loss - before.loss)
    return {
        "n": len(before.loss),
        "before": {"loss": float(before.loss.mean())},
        "after": {"loss": float(after.loss.mean())},
        "difference": {"loss": mean, "interval": [low, high] if len(before.loss) > 1 else None},
    }
