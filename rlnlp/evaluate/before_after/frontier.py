"""Reward against KL: of the policies that a run kept, and of the best of n samples of its first policy."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from rlnlp.evaluate.before_after.draws import Draws
from rlnlp.evaluate.before_after.paired import Resampling, Row, by_prompt
from rlnlp.evaluate.curves import read_metrics
from rlnlp.maths.best_of_n import best_of_n_by_prompt, best_of_n_kl
from rlnlp.run.checkpoint import checkpoints, step_of


def frontier_rows(directory: Path, draw: Resampling, measured: Callable[[Path], Draws]) -> list[Row]:
    """A row for each policy in ``models/``, measured anew; without any, what was measured while training.

    The KL is in nats per response from the first policy, as everywhere.
    """
    kept = [path for path in checkpoints(directory / "models") if (path / "policy").is_dir()]
    if not kept:
        return list(_while_training(directory))
    rows = []
    for path in kept:
        found = measured(path / "policy")
        score, kl = by_prompt(found.score), by_prompt(found.kl)
        rows.append(
            {
                "step": step_of(path),
                "kl": float(kl.mean()),
                "kl_interval": draw.interval(kl),
                "score": float(score.mean()),
                "interval": draw.interval(score),
                "measured": "anew",
            }
        )
    return sorted(rows, key=lambda row: row["step"])


def _while_training(directory: Path) -> Iterator[Row]:
    for row in read_metrics(directory):
        if {"heldout/score", "heldout/kl"} <= row.keys():
            yield {
                "step": row["step"], "kl": row["heldout/kl"], "kl_interval": None, "score": row["heldout/score"],
                "interval": None, "measured": "while training",
            }  # fmt: skip


def best_of_n_rows(first: Draws, most: int, draw: Resampling) -> list[Row]:
    """The best of 1, 2, 4 ... ``most`` samples of the first policy, by the run's reward; and what the judges say of it.

    Unbiased over the samples that were drawn; ``kl`` is the bound log n - (n - 1) / n.
    """
    counts = sorted({*(2**i for i in range(most.bit_length()) if 2**i <= most), most})
    rows = []
    for n in counts:
        values = best_of_n_by_prompt(first.score, first.score, n)
        judged = {
            name: float(best_of_n_by_prompt(first.score, gold, n).mean())
            for name, gold in first.judges.items()
            if np.isfinite(gold).all()
        }
        rows.append(
            {"n": n, "kl": best_of_n_kl(n), "score": float(values.mean()), "interval": draw.interval(values),
             "judges": judged}
        )  # fmt: skip
    return rows
