"""Small reward models on disk, as a run of reward-model leaves them."""

from pathlib import Path

import torch

from rlnlp.models.chat import Chat
from rlnlp.models.load import load_policy, load_tokenizer
from rlnlp.models.locate import REWARD_MODEL
from rlnlp.models.reward_files import save_reward_model
from rlnlp.models.reward_model import reward_model_of
from rlnlp.models.reward_padding import padded_apart
from rlnlp.models.text_tokens import TextReader

CPU = torch.device("cpu")
GAIN, BIAS = 1.5, 0.25
LONGEST = 48  # tokens of a text


def save(
    run: Path, trunk: Path, head: str = "linear", members: int = 1, combine: str = "mean", template: str | None = None,
    seed: int = 7,
) -> Path:  # fmt: skip
    """The reward model of the run in the folder ``run``, on the language model in ``trunk``; returns ``run``."""
    policy, _ = load_policy(str(trunk), True, CPU)
    tokenizer = padded_apart(load_tokenizer(str(trunk), True))
    model = reward_model_of(policy, tokenizer, head, members, "heads", combine, 0.5, True, seed)
    model.normalize([GAIN + i for i in range(members)], [BIAS - i for i in range(members)])
    save_reward_model(run / REWARD_MODEL, model, TextReader(Chat(tokenizer, template, {}), LONGEST))
    return run
