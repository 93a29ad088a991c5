"""The report of a stored reward model, made again: on its held-out pairs, or on those of another file."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from rlnlp.config.description import description
from rlnlp.config.schema import RewardModelRun
from rlnlp.data.preference_table import PreferenceTable, preference_table
from rlnlp.device import compute_device, importing
from rlnlp.evaluate.preferences.baselines import SHUFFLED
from rlnlp.evaluate.preferences.fit import judged_scores
from rlnlp.evaluate.preferences.heldout import HeldoutScores
from rlnlp.evaluate.preferences.record import preference_record
from rlnlp.models.locate import locate_reward_model
from rlnlp.models.reward_load import load_reward_model
from rlnlp.models.reward_model import RewardModel
from rlnlp.rng import stream
from rlnlp.run.manifest import read_facts

FITS = ("learning_curve", "twice_the_labels", "cross_validation")  # what is told by models that were not kept
NOT_KEPT = "the models that were fitted for it are not kept: it is in the report that the run wrote itself"


def evaluate_again(
    directory: Path, config: RewardModelRun, seed: int, same_data: bool,
    waiting: Callable[[str], AbstractContextManager[object]],
) -> dict[str, Any]:  # fmt: skip
    """The record of the reward model of a run, as plain data.

    ``same_data``: the pairs are those that the run was measured on, so that what it found out with other models than
    the one that it kept still holds.

    Raises:
        Failure: exit 2, 3 or 4, for what the settings, the data or the model get wrong.
    """
    with waiting("loading the reward model"), importing():
        from transformers.utils import logging

        logging.disable_progress_bar()
        path = locate_reward_model("the run", str(directory), config.model.allow_download)
        loaded = load_reward_model(path, True, compute_device(config.device))
    log_odds = config.algo.loss == "preference"
    with waiting("reading the judged answers"):
        table = preference_table(config.data, config.heldout.size, config.seed, loaded.reader, not log_odds)
    with waiting("scoring"):
        scores = scores_of(loaded.model, table, measured_rows(config, table), config.algo.micro_batch_size)
    train = [table.rows[r].row for r in table.train]
    record = preference_record(
        scores, train, stream(seed, "report"), separate=table.heldout_is_separate, log_odds=log_odds
    )
    record["notes"] = [*record["notes"], *loaded.notes, *table.notes]
    found = read_facts(directory).get("result") or {}
    return keep_fits(record, found if same_data else {}) | {"run": str(directory), "settings": description(config)}


def measured_rows(config: RewardModelRun, table: PreferenceTable) -> list[int]:
    """The held-out rows; where some of them chose the weights, the others."""
    chosen = config.chosen_by_heldout and table.heldout_is_separate
    return table.choosing_and_reporting(config.seed)[1] if chosen else table.heldout


@torch.no_grad()
def scores_of(model: RewardModel, table: PreferenceTable, rows: list[int], size: int | None) -> HeldoutScores:
    """What the model says of ``rows``, ``size`` texts at once, None for what its own size allows."""
    texts = [text for r in rows for text in table.rows[r].texts]
    raw = model.raw_scores(texts, *model.at_once(size)).cpu()
    return judged_scores(table, rows, raw.split([len(table.rows[r].texts) for r in rows], dim=1))


def keep_fits(record: dict[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """The record with what only the run itself could find out, from its ``result``; what is not in it is missing."""
    kept = {name: result[name] for name in FITS if result.get(name)}
    missing = {**record["missing"], **dict.fromkeys(("learning_curve", SHUFFLED), NOT_KEPT)}
    if kept.get("learning_curve"):
        del missing["learning_curve"]
        if reason := result.get("missing", {}).get("twice_the_labels"):
            missing["twice_the_labels"] = reason
    of_shuffled = [
        each for each in result.get("baselines", []) if each["name"] == SHUFFLED and each["accuracy"] is not None
    ]
    if of_shuffled:
        del missing[SHUFFLED]
    own = [each for each in record["baselines"] if each["name"] != SHUFFLED or not of_shuffled]
    return {**record, **kept, "missing": missing, "baselines": [*own, *of_shuffled]}
