"""How well a reward model's scores agree with judged answers, before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnlp.config.reward_model import FitRewardModel
from rlnlp.data.judged import Judged
from rlnlp.data.judged_batch import RatingScale, rating_scale
from rlnlp.data.preference_table import PreferenceTable
from rlnlp.evaluate.preferences.baselines import differences_of
from rlnlp.evaluate.preferences.curve import CurvePoint
from rlnlp.evaluate.preferences.heldout import HeldoutScores, decided, known
from rlnlp.maths.accuracy import accuracy_gain
from rlnlp.maths.preferences import bradley_terry
from rlnlp.maths.statistics import mean_interval


@dataclass(frozen=True)
class PairFit:
    """``loss`` (N,) of each row; ``scores`` are the members' mean raw scores of the rows' answers."""

    scores: HeldoutScores
    loss: Tensor

    @property
    def accuracy(self) -> float | None:
        """The fraction of the decided pairs whose preferred answer scores higher, equal scores half; None of none."""
        differences = decided(self.scores).differences
        return float(np.mean((np.sign(differences) + 1) / 2)) if len(differences) else None

    def figures(self) -> dict[str, float]:
        """The metrics of a measurement while training."""
        accuracy = self.accuracy
        return {"heldout/loss": float(self.loss.mean()), **({} if accuracy is None else {"heldout/accuracy": accuracy})}


@dataclass(frozen=True)
class FurtherFits:
    """What models that were fitted for comparison score: to parts of the data, to shuffled labels, to folds."""

    curve: list[CurvePoint]
    shuffled: HeldoutScores | None
    folds: HeldoutScores | None


def pair_fit(table: PreferenceTable, rows: Sequence[int], raw: Sequence[Tensor], algo: FitRewardModel) -> PairFit:
    """The fit to ``rows`` of the table, of whose answers ``raw`` (M, K) has the members' scores."""
    means = [each.mean(0) for each in raw]
    if algo.loss == "regression":
        scale = rating_scale(table)
        losses = [_squared_error(table.rows[r].row, scores, scale) for r, scores in zip(rows, means, strict=True)]
    else:
        noise = algo.label_noise
        losses = [_cross_entropy(table.rows[r].row, scores, noise) for r, scores in zip(rows, means, strict=True)]
    return PairFit(judged_scores(table, rows, raw), torch.stack(losses))


def judged_scores(table: PreferenceTable, rows: Sequence[int], raw: Sequence[Tensor]) -> HeldoutScores:
    """What a report is made from: the members' mean raw score of each answer."""
    chosen = [table.rows[r] for r in rows]
    means = [np.asarray(each.mean(0).double().numpy()) for each in raw]
    lengths = [[len(text.answer) for text in each.texts] for each in chosen]
    return HeldoutScores([each.row for each in chosen], [table.units[r] for r in rows], means, lengths)


def _cross_entropy(row: Judged, scores: Tensor, noise: float) -> Tensor:
    """The mean Bradley-Terry loss of a row's pairs, nats; margins are no part of what is measured."""
    chosen, rejected = scores[[pair.chosen for pair in row.pairs]], scores[[pair.rejected for pair in row.pairs]]
    target = torch.tensor([pair.target for pair in row.pairs], dtype=scores.dtype)
    return bradley_terry(chosen, rejected, target, torch.zeros_like(target), noise).mean()


def _squared_error(row: Judged, scores: Tensor, scale: RatingScale) -> Tensor:
    """The mean squared distance of a row's scores from its ratings on the table's scale."""
    ratings = torch.tensor(row.ratings or (), dtype=scores.dtype)
    return (scores - (ratings - scale.mean) / scale.deviation).square().mean()


def loss_gain(one: PairFit, other: PairFit) -> Tensor:
    """How much lower the loss of ``one`` is, (N,), by row."""
    return other.loss - one.loss


def comparison(before: PairFit, after: PairFit, rng: np.random.Generator) -> dict[str, Any]:
    """Loss and accuracy before and after, for ``run.json``; the 95 % intervals are paired by row, or by pair."""
    mean, low, high = mean_interval(after.loss - before.loss)
    return {
        "before": {"loss": float(before.loss.mean()), "accuracy": before.accuracy},
        "after": {"loss": float(after.loss.mean()), "accuracy": after.accuracy},
        "difference": {
            "loss": mean, "interval": [low, high] if len(before.loss) > 1 else None,
            "accuracy": _accuracy_gain(before, after, rng),
        },
    }  # fmt: skip


def _accuracy_gain(before: PairFit, after: PairFit, rng: np.random.Generator) -> dict[str, Any]:
    """The change of the accuracy on the pairs that are decided, with its interval by prompt; None of none."""
    pairs = decided(after.scores)
    if not len(pairs.differences):
        return {"mean": None, "interval": None}
    gain = accuracy_gain(pairs.differences, differences_of(before.scores, pairs), pairs.units, rng)
    return {"mean": gain.value, "interval": known(gain.interval, pairs.unit_count)}
