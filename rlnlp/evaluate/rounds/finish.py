"""The end of an RLHF run: its rounds are drawn, its result is recorded, and its report is printed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from rlnlp.config.schema import RlhfRun
from rlnlp.errors import command, counted
from rlnlp.evaluate.advice import settings_of
from rlnlp.evaluate.curves import Ends, read_metrics
from rlnlp.evaluate.report import data_file, evaluate_command, finish, generate_command, subject
from rlnlp.evaluate.rounds.findings import EVEN, round_findings
from rlnlp.evaluate.rounds.history import FIRST, History, Record, judge_of, mean_of, win_rate_of
from rlnlp.evaluate.rounds.pictures import NAME, draw_history
from rlnlp.evaluate.rounds.qualities import NAME as QUALITIES
from rlnlp.evaluate.rounds.qualities import draw_qualities
from rlnlp.evaluate.rounds.sentences import headline, sentences
from rlnlp.evaluate.rounds.tables import before_after, rounds_table
from rlnlp.evaluate.summary import FILES, Report
from rlnlp.processes.rows import is_first
from rlnlp.run.manifest import REWARD_MODEL
from rlnlp.run.run import Run

SAMPLES = 3
STORE = "feedback.sqlite"
HELD = ("gold", "kl", "response_tokens")  # means that are drawn before and after too


def finish_run(
    run: Run, config: RlhfRun, history: Sequence[Record], over: Record, result: Mapping[str, Any],
    heldout: Sequence[Mapping[str, Any]], device: torch.device,
) -> None:  # fmt: skip
    """Draw both pictures of the rounds, record their result with what ``result`` has more, and print the report; the
    first process does.

    ``history`` has the records of the first policy and of each round, ``over`` is that of ``over_optimization``.
    ``result`` needs "n", the prompts that were measured on, "heldout", whether none of them was trained on, and
    "policy_step", the step of the weights in policy/. ``heldout`` are the lines of heldout.jsonl, each with a "prompt"
    and "before" and "after" with their "response".
    """
    if not is_first():
        return
    told = History(history, read_metrics(run.directory), over)
    health = dict(round_findings(told, settings_of(config)))
    report = report_of(run, config, told, result, heldout, list(health.values()))
    with run.display.waiting("drawing the rounds"):
        draw_history(told, run.directory, report.title)
        draw_qualities(history, result["n"], run.directory, f"{subject(config)}: first and final policy")
    whole = {**result, **rounds_result(history, over), "health": health}
    finish(run, report, whole, heldout, ends(history), device)


def report_of(
    run: Run, config: RlhfRun, told: History, result: Mapping[str, Any], heldout: Sequence[Mapping[str, Any]],
    warnings: Sequence[str],
) -> Report:  # fmt: skip
    """The report of an RLHF run."""
    rounds = told.rounds
    kind = "held-out prompts" if result["heldout"] else "training prompts (none are held out)"
    asked = counted(rounds[-1]["judgements"], "judgement")
    prompts = [str(row["prompt"]) for row in heldout]
    return Report(
        f"{subject(config)}: {headline(rounds[-1])}",
        f"{kind}: {result['n']}; {asked} of {who(config)} in {counted(rounds[-1]['round'], 'round')}",
        before_after(rounds),
        [*sentences(rounds, told.over), f"policy/ has the weights of step {result['policy_step']:,}"],
        warnings,
        [(row["prompt"], row["before"]["response"], row["after"]["response"]) for row in heldout[:SAMPLES]],
        [
            command("feedback", run.directory),
            generate_command(run.directory, prompts, data_file(config)),
            evaluate_command(run),
        ],
        files(config),
        [rounds_table(rounds)],
    )


def who(config: RlhfRun) -> str:
    """Who judged, in words."""
    annotator = config.annotator
    if annotator.name == "simulated":
        return "a simulated annotator" if annotator.raters == 1 else f"{annotator.raters:,} simulated annotators"
    return "a file" if annotator.name == "file" else "people"


def files(config: RlhfRun) -> dict[str, str]:
    """The files of a run with what they hold."""
    own = {
        "policy/": FILES["policy/"],
        f"{REWARD_MODEL}/": "the last reward model, for rlnlp rank and reward=learned",
        NAME: "what came of each round, as pictures",
        QUALITIES: "the terms of the gold reward, satisfaction and length, before and after",
    }
    store = {STORE: "every judgement, for rlnlp feedback"} if config.data.feedback is None else {}
    return {**own, **store, **FILES}


def rounds_result(history: Sequence[Record], over: Record) -> dict[str, Any]:
    """The part of the result in run.json that the rounds make; a win rate is of the final against the first policy.

    "before", "after" and "difference" have the win rate too, as what the run is judged by: two alike win half.
    """
    last = history[-1]
    compared = (last.get("win_rate") or {}).get(FIRST)
    rate = win_rate_of(last, FIRST)
    found = {} if compared is None else compared
    kl = mean_of(last, "kl")
    ends_of = None if rate is None or rate[1] is None else [*rate[1]]
    over_even = rate and {"mean": rate[0] - EVEN, "interval": ends_of and [end - EVEN for end in ends_of]}
    return {
        "win_rate": rate and rate[0],
        "win_rate_interval": ends_of,
        "win_rate_ties_half": found["ties_half"]["value"] if found else None,
        "win_rate_ties_half_interval": found["ties_half"]["interval"] if found else None,
        "decided": found["fraction_decided"]["value"] if found else None,
        "judge": judge_of(last),
        "judgements": last["judgements"],
        "rounds": last["round"],
        "before": {"win_rate": rate and EVEN, "kl": 0.0},
        "after": {"win_rate": rate and rate[0], "kl": kl and kl[0]},
        "difference": {"win_rate": over_even},
        "history": list(history),
        "over_optimization": dict(over),
    }  # fmt: skip


def ends(history: Sequence[Record]) -> Ends:
    """The means of the first and the final policy that curves.png draws at its ends."""
    pairs: Iterable[tuple[str, Any, Any]] = ((n, mean_of(history[0], n), mean_of(history[-1], n)) for n in HELD)
    return {f"heldout/{name}": (old[0], new[0]) for name, old, new in pairs if old is not None and new is not None}
