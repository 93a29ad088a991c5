"""Small reward models on disk, as a run of reward-model leaves them."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from rlnlp.config.parse import parse
from rlnlp.config.schema import RUNS
from rlnlp.models.chat import Chat
from rlnlp.models.load import load_policy, load_tokenizer
from rlnlp.models.reward_files import save_reward_model
from rlnlp.models.reward_model import reward_model_of
from rlnlp.models.reward_padding import padded_apart
from rlnlp.models.text_tokens import TextReader
from rlnlp.run.manifest import REWARD_MODEL, config_text
from support import runs, small

CPU = torch.device("cpu")
GAIN, BIAS = 1.5, 0.25
LONGEST = 48  # tokens of a text


def save(
    run: Path, trunk: Path, head: str = "linear", members: int = 1, combine: str = "mean", template: str | None = None,
    longest: int = LONGEST, seed: int = 7,
) -> Path:  # fmt: skip
    """The reward model of the run in the folder ``run``, on the language model in ``trunk``; returns ``run``."""
    policy, _ = load_policy(str(trunk), True, CPU)
    tokenizer = padded_apart(load_tokenizer(str(trunk), True))
    model = reward_model_of(policy, tokenizer, head, members, "heads", combine, 0.5, True, seed)
    model.normalize([GAIN + i for i in range(members)], [BIAS - i for i in range(members)])
    save_reward_model(run / REWARD_MODEL, model, TextReader(Chat(tokenizer, template, {}), longest))
    return run


def as_run(run: Path) -> Path:
    """``run`` with the two files that make it a run directory of reward-model."""
    config = parse(RUNS["reward-model"], runs.settings(["algo=reward-model"]))
    (run / "config.yaml").write_text(config_text(config))
    (run / "run.json").write_text("{}")
    return run


def save_foreign(folder: Path, labels: int = 1) -> Path:
    """A model for sequence classification as others save it, with random weights, and its tokenizer."""
    words = small.tokenizer()
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=24, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, num_labels=labels, initializer_range=0.5, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForSequenceClassification(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
