"""Rows of judged answers as tensors: the texts of all rows in one list, and the pairs of them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlnlp.batching import parts_at_once
from rlnlp.data.preference_table import PreferenceTable
from rlnlp.maths.shapes import check_vectors
from rlnlp.models.text_tokens import TextTokens
from rlnlp.rng import stream


@dataclass(frozen=True)
class JudgedBatch:
    """R rows with B texts and N pairs of them. ``rows`` are numbers of a table, ``numbers`` (B,) those of its texts.

    ``row_of_text`` (B,) and ``row_of_pair`` (N,) are positions in ``rows``; ``chosen`` and ``rejected`` (N,) positions
    in ``texts``. ``target`` (N,) is 1, or .5 for a tie; ``margin`` (N,) how much better the chosen one is; ``weights``
    (R,) how much a row counts. ``ratings`` (B,) are on the table's scale, 0 where a row has none.
    """

    rows: list[int]
    texts: list[TextTokens]
    numbers: Tensor
    row_of_text: Tensor
    row_of_pair: Tensor
    chosen: Tensor
    rejected: Tensor
    target: Tensor
    margin: Tensor
    ratings: Tensor
    weights: Tensor

    def __post_init__(self) -> None:
        """Refuse parts that do not fit.

        Raises:
            ValueError: lengths differ.
        """
        check_vectors(len(self.texts), numbers=self.numbers, row_of_text=self.row_of_text, ratings=self.ratings)
        check_vectors(len(self.rows), weights=self.weights)
        pairs = {name: vars(self)[name] for name in ("row_of_pair", "chosen", "rejected", "target", "margin")}
        check_vectors(len(self.chosen), **pairs)

    @property
    def pairs_of_row(self) -> Tensor:
        """How many pairs each row has, (R,)."""
        return torch.bincount(self.row_of_pair, minlength=len(self.rows))

    @property
    def texts_of_row(self) -> Tensor:
        """How many texts each row has, (R,)."""
        return torch.bincount(self.row_of_text, minlength=len(self.rows))


@dataclass(frozen=True)
class RatingScale:
    """Ratings less ``mean``, divided by ``deviation``: mean 0 and standard deviation 1 over the training answers."""

    mean: float = 0.0
    deviation: float = 1.0


def rating_scale(table: PreferenceTable) -> RatingScale:
    """The scale of the training rows; ratings that are all the same keep a deviation of 1."""
    given = [rating for r in table.train for rating in table.rows[r].row.ratings or ()]
    if not given:
        return RatingScale()
    x = torch.tensor(given, dtype=torch.float64)
    deviation = float(x.std(correction=0))
    return RatingScale(float(x.mean()), deviation or 1.0)


def batches(table: PreferenceTable, scale: RatingScale, device: torch.device) -> Callable[[Sequence[int]], JudgedBatch]:
    """``rows -> JudgedBatch`` of a table."""
    firsts = [0]
    for row in table.rows:
        firsts.append(firsts[-1] + len(row.texts))

    def batch(rows: Sequence[int]) -> JudgedBatch:
        chosen = [table.rows[r] for r in rows]
        starts = [0]
        for each in chosen:
            starts.append(starts[-1] + len(each.texts))
        pairs = [(i, starts[i], pair) for i, each in enumerate(chosen) for pair in each.row.pairs]
        numbers = [firsts[r] + k for r, each in zip(rows, chosen, strict=True) for k in range(len(each.texts))]
        of_text = [i for i, each in enumerate(chosen) for _ in each.texts]
        ratings = [
            (rating - scale.mean) / scale.deviation
            for each in chosen
            for rating in each.row.ratings or [scale.mean] * len(each.texts)
        ]

        def whole(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        def real(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        return JudgedBatch(
            list(rows), [text for each in chosen for text in each.texts], whole(numbers), whole(of_text),
            whole([i for i, _, _ in pairs]), whole([start + pair.chosen for _, start, pair in pairs]),
            whole([start + pair.rejected for _, start, pair in pairs]), real([pair.target for *_, pair in pairs]),
            real([pair.margin for *_, pair in pairs]), real(ratings), real([each.row.weight for each in chosen]),
        )  # fmt: skip

    return batch


def bootstrap_weights(units: Sequence[int], train: Sequence[int], members: int, seed: int) -> Tensor:
    """How often each row is in each member's sample of the training units, (members, rows).

    Units are drawn with replacement, as many as there are: a bootstrap by prompt (Efron 1979). A single member has each
    row once.
    """
    if members == 1:
        return torch.ones(1, len(units))
    distinct = list(dict.fromkeys(units[r] for r in train))
    of_unit = torch.zeros(members, max(units) + 1)
    for member in range(members):
        drawn = stream(seed, "bootstrap", member).integers(len(distinct), size=len(distinct))
        for i, count in Counter(drawn.tolist()).items():
            of_unit[member, distinct[i]] = count
    return of_unit[:, torch.tensor(units)]


def row_groups(
    table: PreferenceTable, rows: Sequence[int], texts: int, tokens: int | None = None
) -> Iterator[list[int]]:
    """``rows`` in groups of at most ``texts`` texts and ``tokens`` tokens, padding included, in their order.

    A row with more is a group of its own.
    """
    sizes = [(len(table.rows[r].texts), table.lengths[r]) for r in rows]
    for part in parts_at_once(sizes, texts, tokens):
        yield list(rows[part])
