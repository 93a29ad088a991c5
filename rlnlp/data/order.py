"""In which order rows are used: seeded permutations, epoch after epoch, a function of the step alone."""

from functools import lru_cache

import numpy as np

from rlnlp.rng import stream

WINDOW = 16


def rows_of_step(count: int, size: int, step: int, seed: int) -> np.ndarray:
    """The ``size`` rows of ``step`` (1, 2, ...) out of ``count``: the stream of permutations, cut in pieces.

    Nothing needs to be saved to continue: step and seed say all.
    """
    positions = np.arange((step - 1) * size, step * size)
    return np.array([_permutation(count, position // count, seed)[position % count] for position in positions.tolist()])


def alike_rows_of_step(lengths: list[int], size: int, step: int, seed: int) -> np.ndarray:
    """As ``rows_of_step``, but the rows of a step are of similar length, so that little of a batch is padding.

    Batches are cut from windows of ``WINDOW`` batches sorted by length, and taken in a random order within the window.
    """
    window, position = divmod(step - 1, WINDOW)
    first = window * WINDOW + 1
    rows = np.concatenate([rows_of_step(len(lengths), size, s, seed) for s in range(first, first + WINDOW)])
    length_sorted_rows = rows[np.argsort([lengths[r] for r in rows.tolist()], kind="stable")]
    batch = int(stream(seed, "window", window).permutation(WINDOW)[position])
    return length_sorted_rows[batch * size : (batch + 1) * size]


def split(count: int, part: int, seed: int) -> tuple[list[int], list[int]]:
    """A seeded choice: (the others, ``part`` of ``range(count)``), both in rising order."""
    chosen = set(stream(seed, "split").permutation(count)[:part].tolist())
    return [i for i in range(count) if i not in chosen], sorted(chosen)


@lru_cache(maxsize=4)
def _permutation(count: int, epoch: int, seed: int) -> np.ndarray:
    return stream(seed, "order", epoch).permutation(count)
