"""The scores that a reward model gives to texts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rlnlp import build
from rlnlp.config.schema import RankRun, RewardModelRun, RlhfRun
from rlnlp.data.candidates import Candidate
from rlnlp.device import compute_device, importing
from rlnlp.errors import Exit, Failure, counted
from rlnlp.models.reward_load import LoadedRewardModel, load_reward_model
from rlnlp.rewards.model.learned import scorer
from rlnlp.run.live import display
from rlnlp.run.manifest import read_config

BATCH = 32  # texts at once


def scored(path: str, config: RankRun, candidates: Sequence[Candidate]) -> list[float]:
    """The score of each text under the reward model at ``path``, in order; what is special is told.

    Raises:
        Failure: exit 2, for a device that is not there; exit 4, for a model that is unfit.
    """
    shown, device = display(), compute_device(config.device)
    with shown.waiting("loading the reward model"), importing():
        from transformers.utils import logging

        logging.disable_progress_bar()
        loaded = load_reward_model(path, not config.model.allow_download, device)
    for note in loaded.notes:
        shown.log_message(note)
    values = _scores(loaded, candidates)
    if cut := sum(loaded.reader.cuts(each.prompt, each.answer) for each in candidates):
        longest = counted(loaded.reader.max_tokens, "token")
        shown.log_message(f"{counted(cut, 'text')} of more than {longest}: only a part is read")
    return values


def scored_untrained(run: Path, config: RankRun, candidates: Sequence[Candidate]) -> list[float]:
    """The score of each text under the reward model of ``run`` before its first step: a new head on the model below.

    Raises:
        Failure: exit 2, for a run without a reward model or a device that is not there; exit 4, if the model that it
            started from is not there any more, or is unfit.
    """
    trained = read_config(run)
    if not isinstance(trained, RewardModelRun | RlhfRun):
        raise Failure(Exit.CONFIG, f"a run of {trained.algo.name} has no reward model")
    fit, start = (trained.algo, trained.model) if isinstance(trained, RewardModelRun) else trained.reward_model
    with display().waiting("loading the untrained reward model"):
        language = build.reading_language(replace(start, gradient_checkpointing=False), config.device, trained.seed)
        model = build.reward_model(fit, language, trained.seed)
    return _scores(LoadedRewardModel(model, build.text_reader(trained.data, language), ()), candidates)


def _scores(loaded: LoadedRewardModel, candidates: Sequence[Candidate]) -> list[float]:
    with display().waiting("scoring"):
        values: list[float] = scorer("the reward model", loaded, BATCH)(candidates).tolist()
    return values
