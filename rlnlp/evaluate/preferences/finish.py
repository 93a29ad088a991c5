"""The end of a reward model's run: its report is made, its result recorded and printed."""

from collections.abc import Iterator
from typing import Any

from rlnlp.config.description import description
from rlnlp.config.reward_model import FitRewardModel
from rlnlp.data.preference_table import PreferenceTable, shown_prompt
from rlnlp.device import dtype_name
from rlnlp.errors import command, one_line
from rlnlp.evaluate.advice import settings_of
from rlnlp.evaluate.best import Outcome, outcome_facts, outcome_lines
from rlnlp.evaluate.findings import result_findings
from rlnlp.evaluate.preferences.fit import FurtherFits, PairFit, comparison
from rlnlp.evaluate.preferences.page import subtitle, write_preference_report
from rlnlp.evaluate.preferences.record import preference_record
from rlnlp.evaluate.preferences.short import reward_model_notes
from rlnlp.evaluate.report import TYPED, finish, is_easy, title
from rlnlp.evaluate.summary import FILES, Report, Row, table_row
from rlnlp.maths.resampling import FEW
from rlnlp.processes.rows import is_first
from rlnlp.run.manifest import POLICY, REWARD_MODEL
from rlnlp.run.run import Run

FOLDS = "algo.folds=5 would measure on all pairs, each by a model that was not trained on it."
LOADED = "the reward model, for rlnlp rank, reward=learned and transformers' from_pretrained"
PAGE = "how far it can be trusted, with its pictures, for a browser (also report.md)"
SHORT = (  # of cross-validation
    "n", "prompts", "unit", "separate", "accuracy", "accuracy_interval", "ece", "ece_interval", "baselines", "verdict",
)  # fmt: skip


def finish_run(
    run: Run, algo: FitRewardModel, before: PairFit, outcome: Outcome[PairFit], table: PreferenceTable,
    fits: FurtherFits,
) -> None:  # fmt: skip
    """Record what the reward model reached, draw the curves, write the report and print it; the first process does."""
    if not is_first():
        return
    after = outcome.after
    record = report_record(run, algo, after, table, fits)
    kept = {name: value for name, value in record.items() if name != "values"}
    result = {
        **kept,
        "heldout": table.heldout_is_separate,
        **comparison(before, after, run.rng("gain")),
        **outcome_facts(run, outcome),
    }
    result["health"] = dict(result_findings(result, settings_of(run.config)))
    separate = table.heldout_is_separate
    report = Report(
        title(run.config, *headline(before, after, separate)),
        subtitle(record),
        rows(result),
        [*reward_model_notes(record), *outcome_lines(result, REWARD_MODEL)],
        list(result["health"].values()),
        [],
        [command("rank", run.directory, *typed(after))],
        {
            f"{REWARD_MODEL}/": LOADED, "report.html": PAGE,
            **{name: text for name, text in FILES.items() if name != f"{POLICY}/"},
        },
    )  # fmt: skip
    with run.display.waiting("drawing the report"):
        more = {
            "run": str(run.directory),
            "settings": description(run.config, dtype_name(run.config.device.dtype, outcome.device)),
            "command": command("evaluate", run.directory),
        }
        write_preference_report({**record, **more}, run.directory)
    ends = {"heldout/loss": (result["before"]["loss"], result["after"]["loss"])}
    if before.accuracy is not None and after.accuracy is not None:
        ends["heldout/accuracy"] = (before.accuracy, after.accuracy)
    finish(run, report, result, heldout_rows(before, after), ends, outcome.device, REWARD_MODEL)


def report_record(
    run: Run, algo: FitRewardModel, after: PairFit, table: PreferenceTable, fits: FurtherFits
) -> dict[str, Any]:
    """How far the reward model can be trusted, as plain data."""
    log_odds = algo.loss == "preference"
    train = [table.rows[r].row for r in table.train]
    record = preference_record(
        after.scores, train, run.rng("report"), separate=table.heldout_is_separate, shuffled=fits.shuffled,
        curve=fits.curve, log_odds=log_odds,
    )  # fmt: skip
    if fits.folds is not None:
        whole = preference_record(fits.folds, list(fits.folds.rows), run.rng("folds-report"), log_odds=log_odds)
        record["cross_validation"] = {name: whole[name] for name in SHORT} | {"folds": algo.folds}
    elif record["separate"] and 0 < record["prompts"] < FEW:
        record["notes"].append(FOLDS)
    return record


def headline(before: PairFit, after: PairFit, separate: bool) -> tuple[str, float, float]:
    """What the run is judged by, before and after: the accuracy, or the loss where no pair is decided."""
    on = "held-out " if separate else "training "
    if before.accuracy is None or after.accuracy is None:
        return f"{on}loss", float(before.loss.mean()), float(after.loss.mean())
    return f"{on}accuracy", before.accuracy, after.accuracy


def rows(result: dict[str, Any]) -> list[Row]:
    """Accuracy and loss before and after, and their differences."""
    before, after, difference = result["before"], result["after"], result["difference"]
    accuracy = []
    if before["accuracy"] is not None and after["accuracy"] is not None:
        gain = difference["accuracy"]
        figures = before["accuracy"], after["accuracy"], gain["mean"], gain["interval"]
        accuracy.append(table_row("accuracy", *figures))
    loss = table_row("loss, nats per pair", before["loss"], after["loss"], difference["loss"], difference["interval"])
    return [*accuracy, loss]


def typed(fit: PairFit) -> list[str]:
    """Two answers of a row that are easy to type; any two words if there are none."""
    for row in fit.scores.rows:
        easy = [text for text in row.texts if is_easy(text)]
        if len(easy) > 1:
            asked = shown_prompt(row.prompt)
            prompt = ["--prompt", asked] if asked and asked == one_line(asked, 2 * TYPED) else []
            return [*easy[:2], *prompt]
    return ["This is great!", "This is terrible."]


def heldout_rows(before: PairFit, after: PairFit) -> Iterator[dict[str, Any]]:
    """A record for each row that was measured on, for heldout.jsonl: its answers and their raw scores."""
    pairs = zip(after.scores.rows, before.scores.raw, after.scores.raw, strict=True)
    losses = zip(before.loss.tolist(), after.loss.tolist(), strict=True)
    for (row, first, last), (old, new) in zip(pairs, losses, strict=True):
        yield {
            "prompt": shown_prompt(row.prompt), "responses": list(row.texts),
            "pairs": [[pair.chosen, pair.rejected, pair.target] for pair in row.pairs],
            "before": {"loss": old, "scores": first.tolist()}, "after": {"loss": new, "scores": last.tolist()},
        }  # fmt: skip
