"""The scores that a reward model gives to texts."""

from collections.abc import Sequence

from rlnlp.config.schema import RankRun
from rlnlp.data.candidates import Candidate
from rlnlp.device import compute_device, importing
from rlnlp.errors import counted
from rlnlp.models.reward_load import load_reward_model
from rlnlp.rewards.model.learned import scorer
from rlnlp.run.live import display

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
    with shown.waiting("scoring"):
        values: list[float] = scorer("the reward model", loaded, BATCH)(candidates).tolist()
    if cut := sum(loaded.reader.cuts(each.prompt, each.answer) for each in candidates):
        longest = counted(loaded.reader.max_tokens, "token")
        shown.log_message(f"{counted(cut, 'text')} of more than {longest}: only a part is read")
    return values
