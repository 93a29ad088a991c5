"""The report at the end of a run: scores before and after, samples of both, its files and the next command."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rlnlp.device import return_freed
from rlnlp.errors import one_line
from rlnlp.evaluate.best import Outcome, outcome_facts, outcome_lines
from rlnlp.evaluate.curves import draw
from rlnlp.evaluate.findings import result_findings
from rlnlp.evaluate.health import Health
from rlnlp.evaluate.measure import Measurement, comparison
from rlnlp.run.display import as_text
from rlnlp.run.run import Run

SAMPLES = 3


def finish_run(run: Run, before: Measurement, outcome: Outcome[Measurement], health: Health) -> None:
    """Draw the curves, record the result and print it with the findings of ``health``."""
    after = outcome.after
    return_freed()  # before matplotlib needs memory too
    draw(run.directory)
    result = {**comparison(before, after), **outcome_facts(run, outcome)}
    result["health"] = {**health.verdict(), **dict(result_findings(result, health.settings))}
    run.finish(**result)
    console = Console(file=sys.stdout, highlight=False)
    console.print(score_table(result))
    for line in outcome_lines(result):
        console.print(as_text(line))
    for finding in result["health"].values():
        console.print(as_text(f"warning: {finding}"), style="yellow")
    show_samples(console, list(zip(before.prompts, before.responses, after.responses, strict=True))[:SAMPLES])
    print_next_steps(run.directory, console, before.prompts[0])


def show_samples(console: Console, samples: list[tuple[str, str, str]]) -> None:
    """Print prompts with the responses before and after."""
    for prompt, before, after in samples:
        console.print(as_text(f"prompt  {one_line(prompt)}"), style="bold")
        console.print(as_text(f"before  {one_line(before, 400)}"))
        console.print(as_text(f"after   {one_line(after, 400)}"))


def print_next_steps(directory: Path, console: Console, prompt: str) -> None:
    """Print the files of the run and the next command."""
    lines = [
        "",
        f"{directory}/",
        "  policy/        the model, for transformers' from_pretrained",
        "  curves.png     the metrics over the steps (metrics.jsonl)",
        "  samples.jsonl  responses during training",
        f'next: rlnlp generate {directory} "{one_line(prompt, 60)}"',
    ]
    for line in lines:
        console.print(as_text(line), soft_wrap=True)


def score_table(result: dict[str, Any]) -> Table:
    """Score, terms and KL: before, after, difference with its interval."""
    kind = "held-out prompts" if result["heldout"] else "responses to training prompts (none are held out)"
    table = Table(title=f"{kind}: {result['n']}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("", "before", "after", "difference [95 % interval]"):
        table.add_column(column, justify="left" if column in ("", "difference [95 % interval]") else "right")
    rows = [("score", result["before"]["score"], result["after"]["score"], result["difference"]["score"])]
    for name, difference in result["difference"]["terms"].items():
        rows.append((f"  {name}", result["before"]["terms"][name], result["after"]["terms"][name], difference))
    for name, old, new, difference in rows:
        ends = difference["interval"]
        interval = f" [{ends[0]:+.3f}, {ends[1]:+.3f}]" if ends else ""
        table.add_row(as_text(name), f"{old:.3f}", f"{new:.3f}", as_text(f"{difference['mean']:+.3f}{interval}"))
    table.add_row(
        "KL", f"{result['before']['kl']:.2f}", f"{result['after']['kl']:.2f}", "nats per response from the start"
    )
    return table
