"""The gradient of a reward model's loss over judged rows (Ouyang et al. 2022, arXiv:2203.02155, equation 1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rlnlp.algos.optim import backward
from rlnlp.algos.reward_scores import Scorer
from rlnlp.batching import AtOnce
from rlnlp.config.reward_model import RewardModelFit
from rlnlp.data.judged_batch import JudgedBatch, row_groups
from rlnlp.data.order import WINDOW, alike_rows_of_step
from rlnlp.data.preference_table import PreferenceTable
from rlnlp.maths.preferences import bradley_terry, centering, weighted
from rlnlp.processes.launch import place
from rlnlp.processes.rows import joined_rows, own_of, summed, widest
from rlnlp.rng import stream


@dataclass(frozen=True)
class Fitting:
    """What a reward model is fitted with, apart from its weights.

    ``rows`` gives those of a step, of ``train``; ``batch`` their texts and pairs; ``score`` the members' raw scores of
    a batch (M, B), of what is ``at_once`` together; ``counts`` (M, rows of the table) how often a row is in the sample
    that a member is fitted to. ``in_step``: all processes make as many passes, for each has a part of the weights.
    """

    table: PreferenceTable
    train: Sequence[int]
    batch: Callable[[Sequence[int]], JudgedBatch]
    score: Scorer
    at_once: AtOnce
    counts: Tensor
    algo: RewardModelFit
    seed: int
    in_step: bool = False

    def rows(self, step: int) -> list[int]:
        """The rows of a step, of similar lengths; no more than an epoch is sorted together, so that none repeats."""
        lengths = [self.table.lengths[r] for r in self.train]
        batches = max(1, min(WINDOW, len(lengths) // self.algo.batch_size))
        rows = alike_rows_of_step(lengths, self.algo.batch_size, step, self.seed, batches)
        return [self.train[i] for i in rows.tolist()]

    def groups(self, rows: Sequence[int]) -> tuple[list[list[int]], int]:
        """Those of ``rows`` that this process does, as they are read together; and how many passes it makes."""
        found = [*row_groups(self.table, own_of(rows), *self.at_once)]
        return found, widest(len(found)) if self.in_step else len(found)


class Update(NamedTuple):
    """The ``figures`` of a step whose gradient is in the weights; ``texts`` and ``tokens`` that it has read."""

    figures: dict[str, float]
    texts: int
    tokens: int


def accumulate(fitting: Fitting, step: int) -> Update:
    """Leave the gradient of the loss over the rows of ``step`` in the weights.

    Where there are several processes, the gradient is of this one's rows, and the figures are of all.
    """
    algo, rows = fitting.algo, fitting.rows(step)
    total = sum(fitting.table.rows[r].row.weight for r in rows)
    apart = [rank] if (rank := place().rank) else []
    rngs = [stream(fitting.seed, "dropout", step, member, *apart) for member in range(len(fitting.counts))]
    loss_sum, texts, tokens, differences = 0.0, 0, 0, []
    groups, passes = fitting.groups(rows)
    for group in groups:
        batch = fitting.batch(group)
        raw = fitting.score(batch, rngs)
        loss = loss_of(raw, batch, fitting.counts[:, group], algo, total)
        backward(loss)
        loss_sum += loss.item()
        texts += len(batch.texts)
        tokens += sum(map(len, batch.texts))
        scores = raw.detach().mean(0)
        differences.append((scores[batch.chosen] - scores[batch.rejected])[batch.target == 1])
    for _ in range(passes - len(groups)):  # which add nothing, and in which others need this process
        backward(0 * fitting.score(fitting.batch(groups[-1][:1]), rngs).sum())
    mean, *counts = summed([loss_sum, texts, tokens])
    figures = {"loss": mean, **pair_figures(joined_rows(torch.cat(differences)))}
    return Update(figures, *map(int, counts))


def pair_figures(differences: Tensor) -> dict[str, float]:
    """Of the decided pairs (N,): the fraction whose preferred answer scores higher, and by how much; none of none."""
    if not len(differences):
        return {}
    right = (differences > 0).float() + (differences == 0).float() / 2
    return {"accuracy": float(right.mean()), "margin": float(differences.mean())}


def loss_of(raw: Tensor, batch: JudgedBatch, counts: Tensor, algo: RewardModelFit, total: float) -> Tensor:
    """The loss of a micro-batch: each row weighs the same times its weight, however many pairs it has.

    ``raw`` (M, B) are the members' scores, ``counts`` (M, R) how often a member has each row, and ``total`` is the sum
    of the weights of the whole step, by which the mean over members is divided.
    """
    losses = regression_losses if algo.loss == "regression" else preference_losses
    each = [
        weighted(*losses(scores, batch, batch.weights * of, algo), total)
        for scores, of in zip(raw, counts, strict=True)
    ]
    return torch.stack(each).mean()


def preference_losses(
    scores: Tensor, batch: JudgedBatch, weights: Tensor, algo: RewardModelFit
) -> tuple[Tensor, Tensor]:
    """Losses of all pairs and their weights, both (N,): a row's pairs share its weight (C(K, 2) of a ranking of K)."""
    chosen, rejected = scores[batch.chosen], scores[batch.rejected]
    losses = bradley_terry(chosen, rejected, batch.target, batch.margin, algo.label_noise)
    if algo.centering_coef:
        losses = losses + algo.centering_coef * centering(chosen, rejected)
    return losses, (weights / batch.pairs_of_row)[batch.row_of_pair]


def regression_losses(
    scores: Tensor, batch: JudgedBatch, weights: Tensor, algo: RewardModelFit
) -> tuple[Tensor, Tensor]:
    """Squared distances of scores from ratings, and their weights, both (B,): a row's answers share its weight."""
    return (scores - batch.ratings).square(), (weights / batch.texts_of_row)[batch.row_of_text]
