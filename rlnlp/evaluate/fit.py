"""How well a language model fits held-out texts, before and after."""

import math
import sys
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from torch import Tensor

from rlnlp.evaluate.curves import draw
from rlnlp.evaluate.report import data_file, generate_command, print_next_steps, show_samples
from rlnlp.maths.statistics import mean_interval
from rlnlp.models.policy import Policy
from rlnlp.models.save import save_policy
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.run.display import as_text
from rlnlp.run.run import Run


@dataclass(frozen=True)
class Fit:
    """``loss`` (N,) mean nats per token of each held-out text; ``samples`` (prompt, response) that the model writes."""

    loss: Tensor
    samples: list[tuple[str, str]]


def finish_run(run: Run, before: Fit, after: Fit, policy: Policy, tokenizer: Tokenizer) -> None:
    """Save the policy, draw the curves, write the result and print it."""
    save_policy(run.directory / "policy", policy, tokenizer)
    draw(run.directory)
    result = comparison(before, after)
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
    show_samples(console, [(p, b, a) for (p, b), (_, a) in zip(before.samples, after.samples, strict=True)])
    prompts = [prompt.strip() for prompt, _ in after.samples]
    file = data_file(run.config) if any(prompts) else None
    prompts += [" ".join(text.split()[:3]) for _, text in after.samples] if file is None else []  # how a text begins
    print_next_steps(run.directory, console, generate_command(run.directory, prompts, file))


def comparison(before: Fit, after: Fit) -> dict[str, Any]:
    """The result for ``run.json``; the 95 % interval is paired by text."""
    mean, low, high = mean_interval(after.loss - before.loss)
    return {
        "n": len(before.loss),
        "before": {"loss": float(before.loss.mean())},
        "after": {"loss": float(after.loss.mean())},
        "difference": {"loss": mean, "interval": [low, high] if len(before.loss) > 1 else None},
    }
