"""The order in which rows are used: seeded permutations, one per epoch, as a function of the step only."""

from collections.abc import Hashable, Sequence
from functools import lru_cache

import numpy as np

from rlnlp.config.measuring import CHOOSING
from rlnlp.rng import stream

WINDOW = 16  # batches that are sorted by length together


def rows_of_step(count: int, size: int, step: int, seed: int, name: str = "order") -> np.ndarray:
    """The ``size`` rows of ``step`` (1, 2, ...) out of ``count``: consecutive slices of a stream of permutations.

    Resuming needs no saved state: step and seed determine the rows. ``name`` is the stream of the order: data that are
    read side by side have one each, or rows would go together.
    """
    positions = np.arange((step - 1) * size, step * size)
    places = [divmod(position, count) for position in positions.tolist()]
    return np.array([_permutation(count, epoch, seed, name)[place] for epoch, place in places])


def alike_rows_of_step(lengths: list[int], size: int, step: int, seed: int, batches: int = WINDOW) -> np.ndarray:
    """As ``rows_of_step``, but the rows of a step have similar lengths, so that batches have little padding.

    Each window of ``batches`` is sorted by length, split into batches again, and these are used in random order.
    """
    window, position = divmod(step - 1, batches)
    first = window * batches + 1
    rows = np.concatenate([rows_of_step(len(lengths), size, s, seed) for s in range(first, first + batches)])
    length_sorted = rows[np.argsort([lengths[r] for r in rows.tolist()], kind="stable")]
    batch = int(stream(seed, "window", window).permutation(batches)[position])
    return length_sorted[batch * size : (batch + 1) * size]


def split(count: int, part: int, seed: int) -> tuple[list[int], list[int]]:
    """A seeded split of ``range(count)``: (the others, ``part`` of them), both in ascending order."""
    chosen = set(stream(seed, "split").permutation(count)[:part].tolist())
    return [i for i in range(count) if i not in chosen], sorted(chosen)


def choosing_and_reporting(keys: Sequence[Hashable], at_least: int, seed: int) -> tuple[list[int], list[int]]:
    """The positions of those held-out data that choose the best step, and of those that report on it.

    Data with the same key stay together. Below ``at_least`` different keys, all of them do both.
    """
    distinct = list(dict.fromkeys(keys))
    if len(distinct) < at_least:
        return list(range(len(keys))), list(range(len(keys)))
    chosen = stream(seed, "choosing").permutation(len(distinct))[: min(len(distinct) // 2, CHOOSING)]
    choosing = {distinct[i] for i in chosen.tolist()}
    rows = range(len(keys))
    return [i for i in rows if keys[i] in choosing], [i for i in rows if keys[i] not in choosing]


@lru_cache(maxsize=4)
def _permutation(count: int, epoch: int, seed: int, name: str) -> np.ndarray:
    return stream(seed, name, epoch).permutation(count)
