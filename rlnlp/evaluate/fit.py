"""How well a language model fits held-out texts, before and after."""

import math
import sys
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from torch import Tensor

from rlnlp.evaluate.advice import settings_of
from rlnlp.evaluate.best import Outcome, outcome_facts, outcome_lines
from rlnlp.evaluate.curves import draw
from rlnlp.evaluate.findings import result_findings
from rlnlp.evaluate.report import print_next_steps, show_samples
from rlnlp.maths.statistics import mean_interval
from rlnlp.run.display import as_text
from rlnlp.run.run import Run


@dataclass(frozen=True)
class Fit:
    """``loss`` (N,) mean nats per token of each held-out text; ``samples`` (prompt, response) that the model writes."""

    loss: Tensor
    samples: list[tuple[str, str]]


def finish_run(run: Run, before: Fit, outcome: Outcome[Fit]) -> None:
    """Draw the curves, write the result and print it."""
    after = outcome.after
    draw(run.directory)
    result = {**comparison(before, after), **outcome_facts(run, outcome)}
    result["health"] = dict(result_findings(result, settings_of(run.config)))
    run.finish(**result)
    old, new = result["before"]["loss"], result["after"]["loss"]
    low, high = result["difference"]["interval"] or (math.nan, math.nan)
    console = Console(file=sys.stdout, highlight=False)
    lines = [
        f"held-out texts: {result['n']}",
        f"loss        {old:.3f} -> {new:.3f} nats per token, difference {new - old:+.3f} [{low:+.3f}, {high:+.3f}]",
        f"perplexity  {math.exp(old):.2f} -> {math.exp(new):.2f}",
    ]
    for line in lines:
        console.print(as_text(line))
    for line in outcome_lines(result):
        console.print(as_text(line))
    for finding in result["health"].values():
        console.print(as_text(f"warning: {finding}"), style="yellow")
    show_samples(console, [(p, b, a) for (p, b), (_, a) in zip(before.samples, after.samples, strict=True)])
    print_next_steps(run.directory, console, after.samples[0][0])


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
