"""A reward model from judged answers: the preferred one of each pair scores higher, for each judged prompt the same."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from rlnlp import build
from rlnlp.algos.further_fits import Refit, fresh_model, further_fits
from rlnlp.algos.opening import Prepared, Rows, opening
from rlnlp.algos.optim import Optimizers, descend, learning_rate, optimizers
from rlnlp.algos.reward_scores import FeatureCache, reward_model_result, scored_at_once, scorer, scores_of_rows
from rlnlp.algos.reward_updates import Fitting, accumulate
from rlnlp.algos.setup import load_reading_language
from rlnlp.config.reward_model import FitRewardModel
from rlnlp.config.schema import RewardModelRun
from rlnlp.data.judged_batch import batches, bootstrap_weights, rating_scale
from rlnlp.data.preference_table import PreferenceTable, preference_table, shown_prompt
from rlnlp.evaluate.best import Views, measure_result, save_result
from rlnlp.evaluate.preferences.finish import finish_run
from rlnlp.evaluate.preferences.fit import PairFit, loss_gain, pair_fit
from rlnlp.models.reward_model import RewardModel
from rlnlp.models.sharding import in_parts, share_members
from rlnlp.models.text_tokens import TextReader
from rlnlp.processes.sharding import whole_weights
from rlnlp.run.manifest import REWARD_MODEL
from rlnlp.run.run import Run
from rlnlp.run.steps import Steps


def train(
    model: RewardModel,
    optimizer_parts: Optimizers,
    fitting: Fitting,
    observe: Callable[[int], dict[str, float]],
    run: Steps,
) -> None:
    """Descend the loss of each batch of judged rows."""
    algo = fitting.algo
    for step in run.steps(algo.total_steps, {REWARD_MODEL: model, **optimizer_parts}):
        update = accumulate(fitting, step)
        norm = descend(optimizer_parts, step, algo)
        figures = {**update.figures, "grad_norm": norm, "learning_rate": learning_rate(algo, step), **observe(step)}
        run.log(step, episodes=update.texts, tokens=update.tokens, **figures)


def trial_step(model: RewardModel, fitting: Fitting, step: int) -> float:
    """Seconds that a step takes, from one that changes nothing; if the trunk is frozen, with its features at hand."""
    if model.frozen:
        accumulate(fitting, step)
    begun = time.monotonic()
    accumulate(fitting, step)
    model.zero_grad(set_to_none=True)
    return time.monotonic() - begun


@dataclass(frozen=True)
class RewardModelSetup:
    """``model`` scores texts as ``reader`` reads them. ``rows`` says how many of the ``table`` are for what.

    ``fitting`` is to the training rows; ``refit`` fits a fresh model to other rows, for comparison.
    """

    model: RewardModel
    reader: TextReader
    table: PreferenceTable
    rows: Rows
    fitting: Fitting
    refit: Refit


def prepare(
    config: RewardModelRun, language: build.Language | build.EncoderLanguage, run: Run
) -> Prepared[RewardModelSetup, RewardModel]:
    """What stands before the first step.

    Raises:
        Failure: exit 3 or 4, for what the data or the model get wrong.
    """
    algo, seed = config.algo, config.seed
    reader = build.text_reader(config.data, language)
    model = build.reward_model(algo, language, seed)
    with run.display.waiting("reading the judged answers"):
        table = preference_table(config.data, config.heldout.size, seed, reader, algo.loss == "regression")
    cache = (
        FeatureCache(model, table, model.at_once(algo.micro_batch_size, algo.micro_batch_tokens))
        if algo.frozen_trunk
        else None
    )
    counts = bootstrap_weights(table.units, table.train, algo.ensemble_size, seed).to(model.device)
    batch = batches(table, rating_scale(table), model.device)
    at_once = scored_at_once(model, cache, algo)
    fitting = Fitting(
        table, table.train, batch, scorer(model, cache), at_once, counts, algo, seed, in_parts(config.device)
    )
    notes = [*table.notes, *at_once_note(model, algo)]
    rows = Rows(len(table.train), len(table.heldout), table.heldout_is_separate, notes)
    refit = Refit(config, run, fresh_model(config, language), cache)
    setup = RewardModelSetup(model, reader, table, rows, fitting, refit)
    return Prepared(setup, model, {REWARD_MODEL: model}, partial(trial_step, model, fitting), cache)


def at_once_note(model: RewardModel, algo: FitRewardModel) -> list[str]:
    """How much is read at once, where that follows from the size of the model."""
    if algo.micro_batch_size is not None or algo.micro_batch_tokens is not None:
        return []
    texts, tokens = model.at_once(None)
    return [f"answers at once: at most {texts}, of {tokens:,} tokens in all"]


def main(config: RewardModelRun, run: Run) -> None:
    """Build the parts of the config, measure, train, measure again, and report."""
    config, language = load_reading_language(config, run)
    made = prepare(config, language, run)
    setup, model, algo = made.around, made.model, config.algo
    table, fitting = setup.table, setup.fitting

    share_members(config.device, model)

    def raw(rows: Sequence[int]) -> list[Tensor]:
        with whole_weights(model):
            return scores_of_rows(fitting.score, fitting.batch, table, rows, *fitting.at_once)

    def view(rows: list[int]) -> PairFit:
        return pair_fit(table, rows, raw(rows), algo)

    choosing, reporting = table.choosing_and_reporting(config.seed)
    views = Views(
        "the same pairs" if choosing == reporting else "other prompts", partial(view, table.heldout),
        partial(view, choosing), partial(view, reporting),
    )  # fmt: skip

    def observe(step: int) -> dict[str, float]:
        if run.due(config.samples.every, step):
            keep_samples(raw, table, run, step, config.samples.show)
        return views.choosing().figures() if run.due(config.heldout.every, step) else {}

    before = opening(
        config, run, model.device, setup.rows, partial(measure_result, run, views), made.parts, made.trial, made.once
    )
    train(model, optimizers(model, algo), fitting, observe, run)
    result = reward_model_result(config, run, model, setup.reader, table, raw, setup.refit.fresh)
    outcome = save_result(run, result, views, loss_gain)
    judged = reporting if config.chosen_by_heldout else table.heldout
    finish_run(run, algo, before, outcome, table, further_fits(setup.refit, table, algo, judged))


def keep_samples(
    raw: Callable[[Sequence[int]], list[Tensor]], table: PreferenceTable, run: Run, step: int, show: int
) -> None:
    """The scores of a few measured pairs into samples.jsonl, before they are normalized."""
    rows = table.heldout[:3]
    found = []
    for r, scores in zip(rows, raw(rows), strict=True):
        row = table.rows[r].row
        prompt = shown_prompt(row.prompt)
        each = zip(row.texts, scores.mean(0).tolist(), strict=True)
        found += [{"prompt": prompt, "response": text, "score": score} for text, score in each]
    run.sample(step, found, show)
