"""What a check tells of judged answers: whether they can be learned from, and what a model could learn instead."""

import time

import numpy as np
import torch

from rlnlp.algos.reward_model import RewardModelSetup
from rlnlp.algos.reward_scores import scores_of_rows
from rlnlp.commands.check.findings import Finding, Report
from rlnlp.data.judged import TIE
from rlnlp.data.preference_table import PreferenceTable
from rlnlp.errors import Exit, counted
from rlnlp.maths.resampling import fraction_interval_by_prompt, sums_by_prompt

FEWEST = 100  # decided pairs to measure on: an accuracy of 70 % is then known to about 9 points on each side
BIAS = 0.6  # of the pairs: a rule that is right in more of them is worth knowing of
ONE_SIDED = 0.9  # of the pairs: the answer at one place is preferred


def look_at_judgements(setup: RewardModelSetup, samples: int, rng: np.random.Generator, report: Report) -> float:
    """Look at pairs, ties, lengths and places of the answers; the seconds of scoring ``samples`` rows.

    A row may be scored more than once.
    """
    table = setup.table
    _look_at_pairs(table, rng, report)
    rows = [table.heldout[i % len(table.heldout)] for i in range(samples)]
    begun = time.monotonic()
    found = scores_of_rows(setup.fitting.score, setup.fitting.batch, table, rows, *setup.fitting.at_once)
    seconds = time.monotonic() - begun
    scores = torch.cat(found, dim=1)
    low, high = float(scores.min()), float(scores.max())
    report.sound["scores"] = f"before training from {low:.2g} to {high:.2g}"
    return seconds


def _look_at_pairs(table: PreferenceTable, rng: np.random.Generator, report: Report) -> None:
    every = [(r, pair) for r in (*table.train, *table.heldout) for pair in table.rows[r].row.pairs]
    decided = [(r, pair) for r, pair in every if pair.target != TIE]
    if not decided:
        if any(table.rows[r].row.ratings is None for r in table.train):
            what = f"none of {counted(len(every), 'pair')} is decided: nothing says which answer is better"
            fix = "give pairs of which one answer is preferred"
            report.add(Finding("all-ties", "error", what, fix, Exit.DATA))
        return
    held = set(table.heldout)
    measured = sum(r in held for r, _ in decided)
    if measured < FEWEST:
        what = f"{counted(measured, 'decided pair')} to measure on: the accuracy will have a wide interval"
        report.warn("few-pairs", what, "raise heldout.size, give more pairs, or set algo.folds=5 with a frozen trunk")
    units = np.array([table.units[r] for r, _ in decided])
    lengths = [[len(text.answer) for text in table.rows[r].texts] for r, _ in decided]
    longer = np.array(
        [(np.sign(n[pair.chosen] - n[pair.rejected]) + 1) / 2 for n, (_, pair) in zip(lengths, decided, strict=True)]
    )
    first = np.array([float(pair.chosen < pair.rejected) for _, pair in decided])
    fraction, words = _fraction(longer, units, rng)
    if max(fraction, 1 - fraction) > BIAS:
        which = "longer" if fraction > 0.5 else "shorter"
        what = f"the longer answer is preferred in {words} of the pairs: a model can learn length instead"
        report.warn(
            "length-bias", what,
            f"read in the report whether it beats '{which} wins'; pairs of similar length, or more with the"
            f" {'shorter' if fraction > 0.5 else 'longer'} one preferred, help",
        )  # fmt: skip
    by_form = bool((first == 1).all())  # records of "chosen" and "rejected"
    place, place_words = _fraction(first, units, rng)
    if not by_form and max(place, 1 - place) > ONE_SIDED:
        what = f"the first answer is preferred in {place_words} of the pairs"
        report.warn("one-sided", what, "show the answers in random order when they are judged")
    ties = len(every) - len(decided)
    known = f"{counted(len(decided), 'decided pair')}, {counted(ties, 'tie')}"
    report.sound["labels"] = f"{known}; the longer answer is preferred in {words}"


def _fraction(x: np.ndarray, units: np.ndarray, rng: np.random.Generator) -> tuple[float, str]:
    """The mean of ``x`` (N,), and with its interval in words."""
    total, count = sums_by_prompt(units, x, np.ones(len(x)))
    mean = float(x.mean())
    if len(total) < 2:
        return mean, f"{mean:.0%}"
    low, high = fraction_interval_by_prompt(total, count, rng)
    return mean, f"{mean:.0%} [{low:.0%}, {high:.0%}]"
