"""Further fits of a reward model, for its report: to parts of the data, to labels that say nothing, to folds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from rlnlp import build
from rlnlp.algos.optim import descend, optimizers
from rlnlp.algos.reward_scores import FeatureCache, scored_at_once, scorer, scores_of_rows
from rlnlp.algos.reward_updates import Fitting, accumulate
from rlnlp.config.reward_model import SHUFFLED, FitRewardModel
from rlnlp.config.schema import RewardModelRun
from rlnlp.data.judged_batch import batches, bootstrap_weights, rating_scale
from rlnlp.data.preference_table import PreferenceTable
from rlnlp.data.units import folds_of
from rlnlp.errors import counted
from rlnlp.evaluate.preferences.curve import CurvePoint
from rlnlp.evaluate.preferences.fit import FurtherFits, judged_scores
from rlnlp.evaluate.preferences.heldout import HeldoutScores
from rlnlp.models.reward_model import RewardModel
from rlnlp.models.sharding import in_parts, share_members
from rlnlp.processes.sharding import whole_weights
from rlnlp.run.run import Run


@dataclass(frozen=True)
class Refit:
    """Fits a fresh model to rows of a table as the run fits its own, and scores others with it.

    ``fresh`` makes a model with the weights that the run began with; ``cache`` has the features of a frozen trunk.
    """

    config: RewardModelRun
    run: Run
    fresh: Callable[[], RewardModel]
    cache: FeatureCache | None

    def __call__(self, table: PreferenceTable, train: Sequence[int], scored: Sequence[int]) -> list[Tensor]:
        """The raw scores of the rows ``scored``, (M, K) each, by a model fitted to ``train`` for as many epochs."""
        fraction, algo, seed = len(train) / len(table.train), self.config.algo, self.config.seed
        steps = max(1, round(algo.total_steps * fraction))
        algo = replace(algo, total_steps=steps, warmup_steps=min(round(algo.warmup_steps * fraction), steps))
        model = self.fresh()
        score, batch = scorer(model, self.cache), batches(table, rating_scale(table), model.device)
        counts = bootstrap_weights(table.units, train, algo.ensemble_size, seed).to(model.device)
        at_once = scored_at_once(model, self.cache, algo)
        where = self.config.device
        fitting = Fitting(table, train, batch, score, at_once, counts, algo, seed, in_parts(where))
        share_members(where, model)
        parts = optimizers(model, algo)
        for step in range(1, steps + 1):
            accumulate(fitting, step)
            descend(parts, step, algo)
        with whole_weights(model):
            return scores_of_rows(score, batch, table, scored, *at_once)


def fresh_model(config: RewardModelRun, language: build.Language | build.EncoderLanguage) -> Callable[[], RewardModel]:
    """Makes a reward model as the run's own was before its first step; a trunk that learns is loaded anew."""

    def fresh() -> RewardModel:
        frozen, place = config.algo.frozen_trunk, (config.model, config.device, config.seed)
        start = language if frozen else build.reading_language(*place)
        return build.reward_model(config.algo, start, config.seed)

    return fresh


def further_fits(refit: Refit, table: PreferenceTable, algo: FitRewardModel, scored: Sequence[int]) -> FurtherFits:
    """The fits that the settings ask for; they score the rows ``scored``, on which the run's own model is judged."""
    run = refit.run

    def fitted(what: str, rows: PreferenceTable, train: Sequence[int], scored: Sequence[int]) -> HeldoutScores:
        with run.display.waiting(f"fitting to {what}, for the report"):
            return judged_scores(table, scored, refit(rows, train, scored))

    curve = []
    for part in sorted(algo.learning_curve):
        train = table.fraction(part)
        units = len({table.units[r] for r in train})
        pairs = sum(len(table.rows[r].row.pairs) for r in train)
        curve.append(CurvePoint(pairs, units, fitted(f"{part:.0%} of the data", table, train, scored)))
    shuffled = None
    if algo.shuffled_labels:
        mixed = table.shuffled(run.rng("shuffled"))
        shuffled = fitted("shuffled labels", mixed, mixed.fraction(SHUFFLED), scored)
    return FurtherFits(curve, shuffled, _cross_validation(refit, table, fitted) if algo.folds else None)


def _cross_validation(
    refit: Refit, table: PreferenceTable,
    fitted: Callable[[str, PreferenceTable, Sequence[int], Sequence[int]], HeldoutScores],
) -> HeldoutScores:  # fmt: skip
    """Every row that may be trained on, scored by a model that was fitted to the other folds."""
    own = sorted({*table.train, *table.heldout}) if refit.config.data.heldout is None else table.train
    folds = folds_of([table.units[r] for r in own], refit.config.algo.folds, refit.config.seed)
    found = []
    for number, fold in enumerate(folds, 1):
        scored = [own[i] for i in fold]
        left = set(scored)
        rest = [r for r in own if r not in left]
        found.append(fitted(f"all but fold {number} of {counted(len(folds), 'fold')}", table, rest, scored))
    return HeldoutScores(
        [row for part in found for row in part.rows], [unit for part in found for unit in part.units],
        [raw for part in found for raw in part.raw], [lengths for part in found for lengths in part.lengths],
    )  # fmt: skip
