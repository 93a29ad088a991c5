"""The scores that a reward model gives to texts."""

from collections.abc import Sequence

from rlnlp.config.schema import RankRun
from rlnlp.data.candidates import Candidate
from rlnlp.device import compute_device
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
    with shown.waiting("loading the reward model"):
        loaded = load_reward_model(path, not config.model.allow_download, device)
    cut = sum(loaded.reader.cuts(each.prompt, each.answer) for each in candidates)
    longest = counted(loaded.reader.max_tokens, "token")
    notes = [f"{counted(cut, 'text')} longer than {longest}: of them only a part is read"] if cut else []
    for note in (*loaded.notes, *notes):
        shown.log_message(note)
    with shown.waiting("scoring"):
        values: list[float] = scorer("the reward model", loaded, BATCH)(candidates).tolist()
    return values
