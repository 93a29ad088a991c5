"""The end of a run: its policy, curves, summary and held-out responses are written, and its report is printed."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from rlnlp.config.data import names_in, path_of
from rlnlp.config.description import description, duration, left_out_lines
from rlnlp.config.schema import OnPolicyRun, Trained
from rlnlp.device import dtype_name, peak_memory, return_freed
from rlnlp.errors import command, one_line, safe_text
from rlnlp.evaluate.best import Outcome, outcome_facts, outcome_lines
from rlnlp.evaluate.card import model_card
from rlnlp.evaluate.curves import Ends, draw
from rlnlp.evaluate.findings import result_findings
from rlnlp.evaluate.health import Health
from rlnlp.evaluate.measure import Measurement, comparison, heldout_rows
from rlnlp.evaluate.summary import Line, Report, Row, markdown, report_lines, table_row
from rlnlp.processes.rows import is_first
from rlnlp.run.disk import replace, size_text
from rlnlp.run.manifest import POLICY, words_to_name
from rlnlp.run.run import Run

SAMPLES = 3
ADAPTER = "the adapter, for from_pretrained of peft, and of transformers where peft is installed"
TYPED = 60  # characters of a prompt that one would type


def finish_run(run: Run, before: Measurement, outcome: Outcome[Measurement], health: Health) -> None:
    """Draw the curves, record the result and print it with the findings of ``health``; in the first process."""
    if not is_first():
        return
    after = outcome.after
    result = {**comparison(before, after), **outcome_facts(run, outcome)}
    result["health"] = {**health.verdict(), **dict(result_findings(result, health.settings))}
    old, new = result["before"], result["after"]
    kind = "held-out prompts" if result["heldout"] else "responses to training prompts (none are held out)"
    report = Report(
        title(run.config, "held-out score" if result["heldout"] else "score", old["score"], new["score"]),
        f"{kind}: {result['n']}",
        score_rows(result),
        [*outcome_lines(result), *left_out_lines(run.facts.get("left_out", {}))],
        list(result["health"].values()),
        list(zip(before.prompts, before.responses, after.responses, strict=True))[:SAMPLES],
        [
            generate_command(run.directory, before.prompts, data_file(run.config)),
            evaluate_command(run),
        ],
    )
    ends = {"heldout/score": (old["score"], new["score"]), "heldout/kl": (old["kl"], new["kl"])}
    finish(run, report, result, heldout_rows(before, after), ends, outcome.device)


def finish(
    run: Run, report: Report, result: Mapping[str, Any], heldout: Iterable[Mapping[str, Any]], ends: Ends,
    device: torch.device, folder: str = POLICY,
) -> None:  # fmt: skip
    """Write what every run leaves behind, and print ``report``; ``ends`` are for the curves.

    ``folder`` has the model that the run hands over.
    """
    directory, memory, lora = run.directory, peak_memory(device), run.config.model.lora
    if lora.on and not lora.merge:
        report = dataclasses.replace(report, files={**report.files, f"{POLICY}/": ADAPTER})
    with run.display.waiting("drawing the curves"):
        return_freed()  # before matplotlib needs memory too
        draw(directory, report.title, ends, unweighted(run.config), result["policy_step"])
    replace(directory / "heldout.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in heldout))
    took = cost(run, memory)
    described = description(run.config, dtype_name(run.config.device.dtype, device))
    replace(directory / "summary.md", markdown(report, described, took))
    card = model_card(run.config, described, run.asked, report, tuple(run.hidden))
    replace(directory / folder / "README.md", card)
    run.facts["peak_memory_bytes"] = memory
    run.finish(**result)
    lines = report_lines(report, directory, took)
    run.write_log("\n".join(line.text for line in lines))
    print_lines(Console(file=sys.stdout, highlight=False), lines)


def print_lines(console: Console, lines: Iterable[Line]) -> None:
    """Print the lines. Without a terminal none is broken; in one, those with an indent are broken between words."""
    for line in lines:
        head, rest = line.text[: line.indent], Text(safe_text(line.text[line.indent :]))
        broken = line.indent > 0 and console.file.isatty()
        for part in rest.wrap(console, max(20, console.width - line.indent)) if broken else [rest]:
            part.rstrip()
            console.print(Text.assemble(head, part, style=line.style), soft_wrap=True)
            head = " " * line.indent


def score_rows(result: Mapping[str, Any]) -> list[Row]:
    """Score, terms and KL before and after, and their differences."""
    before, after, difference = result["before"], result["after"], result["difference"]
    rows = [("score", before["score"], after["score"], difference["score"])]
    rows += [(f"  {n}", before["terms"][n], after["terms"][n], each) for n, each in difference["terms"].items()]
    shown = [table_row(name, old, new, each["mean"], each["interval"]) for name, old, new, each in rows]
    return [*shown, ("KL", f"{before['kl']:.2f}", f"{after['kl']:.2f}", "nats per response from the start")]


def title(config: Trained, measured: str, before: float, after: float) -> str:
    """What was trained, and what came of it."""
    return f"{subject(config)}: {measured} {before:.3f} → {after:.3f}"


def subject(config: Trained) -> str:
    """What was trained: the algorithm and the model."""
    model = "a fresh model" if config.model.path is None else one_line(config.model.path, 60)
    return f"{asdict(config)['algo']['name']}, {model}"


def cost(run: Run, memory: Mapping[str, int]) -> str:
    """How long a run took, and its peak memory by device, given in bytes."""
    seconds = run.seconds()
    earlier = f", {duration(seconds.whole)} with what came before" if seconds.whole > seconds.command else ""
    most = ", ".join(size_text(size) + ("" if name == "process" else f" on {name}") for name, size in memory.items())
    training = duration(seconds.training)
    return f"took {duration(seconds.command)}{earlier}, {training} of training; peak memory {most}"


def unweighted(config: Trained) -> set[str]:
    """The reward terms that are only logged."""
    terms = config.reward.terms if isinstance(config, OnPolicyRun) else {}
    return {name for name, term in terms.items() if term.weight == 0}


def generate_command(directory: Path, prompts: Sequence[str], file: Sequence[str | Path]) -> str:
    """The command that draws from a run: for the shortest of ``prompts``; if none is easy to type, for a file's.

    ``file`` is the file with the settings that it is read by; empty if there is none.
    """
    easy = [prompt for prompt in prompts if is_easy(prompt)]
    words = [min(easy, key=len)] if easy else ["--file", *(file or [Path("prompts.jsonl")])]
    return command("generate", directory, *words)


def evaluate_command(run: Run) -> str:
    """The command that says whether a run worked, with what a directory must not name or does not hold."""
    code, secrets = words_to_name(run.asked, run.hidden)
    return command("evaluate", run.directory, *code, *secrets)


def is_easy(text: str) -> bool:
    """True for a text that can be typed as a word of a command line."""
    return text == one_line(text, TYPED) != "" and text[0] != "-" and "=" not in text


def data_file(config: Trained) -> list[str | Path]:
    """A file of the run's held-out data, else of its training data, and how it is read; empty if all are embedded."""
    data = asdict(config)["data"]
    named = [name for key in ("heldout", "prompts", "texts") if data.get(key) for name in names_in(data[key])]
    file = next((path for path in map(path_of, named) if path.is_file()), None)
    columns = ", ".join(f"{ours}: {theirs}" for ours, theirs in config.data.columns.items())
    words = [f"data.columns={{{columns}}}"] if columns else []
    words += [f"data.encoding={config.data.encoding}"] if config.data.encoding != "utf-8" else []
    return [] if file is None else [file, *words]
