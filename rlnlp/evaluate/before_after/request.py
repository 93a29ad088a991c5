"""What ``rlnlp evaluate`` is asked for: nothing here needs torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rlnlp.config.model import Model
from rlnlp.config.reward import Reward
from rlnlp.config.schema import OnPolicyRun, SftRun

FIRST = "the first policy"
REFERENCES = "references"


@dataclass(frozen=True)
class Request:
    """What is to be evaluated and against what.

    ``config`` are the settings of the run in ``directory``, with what is to differ. ``against`` names the other side:
    ``FIRST``, ``REFERENCES``, or the source whose model is ``other``. ``judges`` are further rewards by name.
    ``samples`` a prompt and ``best_of`` may be left open (None). ``independent``: the two sides have random streams of
    their own. ``seed`` is that of the draws. ``rewarded`` is False where training was not rewarded by the reward of
    ``config``, the gold one of rlhf.
    """

    directory: Path
    config: OnPolicyRun | SftRun
    against: str = FIRST
    other: Model | None = None
    judges: Mapping[str, Reward] | None = None
    prompts: str | None = None
    samples: int | None = None
    best_of: int | None = None
    independent: bool = False
    seed: int = 0
    rewarded: bool = True
