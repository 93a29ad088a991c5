"""Reward models from files: of a run, or any model for sequence classification with one label."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rlnlp.config.conversations import AUTO, Conversations
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.models.chat import Chat, chat_of
from rlnlp.models.load import load_tokenizer, pretrained
from rlnlp.models.locate import context_in, resolve
from rlnlp.models.reward_classes import SCORE_BIAS
from rlnlp.models.reward_files import HERE, MEMBERS, RECORD, Record
from rlnlp.models.reward_heads import LinearHead, new_head
from rlnlp.models.reward_model import RewardModel
from rlnlp.models.reward_padding import fit_rows, padded_apart
from rlnlp.models.reward_trunk import POOLS, CausalTrunk
from rlnlp.models.text_tokens import TextReader
from rlnlp.models.tokenizer import Tokenizer

FOLDER = "reward_model"  # of a run
LONGEST = 2048  # tokens of a text, for a model whose config has no limit


@dataclass(frozen=True)
class LoadedRewardModel:
    """A reward model with how it reads texts; ``notes`` are for the user."""

    model: RewardModel
    reader: TextReader
    notes: tuple[str, ...]


def locate_reward_model(key: str, path: str, allow_download: bool, allow: str = "") -> str:
    """The directory or hub id that the setting ``key`` means by ``path``: of a run, its reward model.

    Raises:
        Failure: exit 4, if it does not exist, holds no model, or may not be fetched.
    """
    place = Path(path).expanduser()
    inner = place / FOLDER if (place / FOLDER).is_dir() else place
    if (inner / RECORD).is_file():
        return str(inner)
    return resolve(key, str(inner) if inner != place else path, "config.json", allow_download, allow)


def load_reward_model(path: str, local_only: bool, device: torch.device) -> LoadedRewardModel:
    """The reward model at ``path``, a directory or hub id as ``locate_reward_model`` finds it.

    A model that was not saved by rlnlp gives its logit: gain 1, bias 0.

    Raises:
        Failure: exit 4, if it cannot be loaded whole, was changed since it was saved, or has another number of labels.
    """
    what = f"reward model '{one_line(path)}'"
    directory = Path(path)
    if (directory / RECORD).is_file():
        try:
            return _own(directory, Record.read(directory), what, device)
        except ValueError as error:
            raise Failure(Exit.MODEL, f"{what}: {error}\nuse another one, or train it again", "damaged") from error
    return _foreign(path, what, local_only, device)


def _own(directory: Path, record: Record, what: str, device: torch.device) -> LoadedRewardModel:
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoModelForSequenceClassification

    trunks = []
    for name in record.trunks:
        kind = AutoModelForSequenceClassification if name == HERE else AutoModel
        loaded, found = pretrained(kind, str(directory / name), what, True, device)
        if missing := sorted(key for key in found["missing_keys"] if not key.startswith("pooler.")):
            raise ValueError(f"its files lack {len(missing)} weights, such as {missing[0]}")
        trunks.append(CausalTrunk(loaded.base_model, POOLS[record.head], torch.float32, record.first_position))
    heads = [new_head(record.head, record.width) for _ in range(record.members)]
    tokenizer = load_tokenizer(str(directory / record.trunks[0]), True)
    model = RewardModel(trunks, heads, tokenizer.pad, record.combine, record.uncertainty_coef)
    try:
        model.heads.load_state_dict(load_file(directory / MEMBERS))
    except RuntimeError as error:
        raise ValueError(f"{MEMBERS} does not fit {RECORD}") from error
    model.normalize(record.gain, record.bias)
    chat = Chat(tokenizer, record.template, record.template_args, record.system, record.plainly)
    return LoadedRewardModel(model.to(device), TextReader(chat, record.max_tokens), ())


def _foreign(path: str, what: str, local_only: bool, device: torch.device) -> LoadedRewardModel:
    from transformers import AutoModelForSequenceClassification

    classifier, loaded = pretrained(AutoModelForSequenceClassification, path, what, local_only, device)
    missing = sorted(loaded["missing_keys"])
    if missing:
        raise Failure(Exit.MODEL, f"{what} is none: it lacks {len(missing)} weights, such as {missing[0]}")
    if classifier.config.num_labels != 1:
        raise Failure(Exit.MODEL, f"{what} has {classifier.config.num_labels} labels: a score is one number")
    score = dict(classifier.named_children()).get("score")
    if not isinstance(score, nn.Linear):
        raise Failure(Exit.MODEL, f"{what} has no linear score of its last token")
    tokenizer = padded_apart(load_tokenizer(path, local_only))
    head = LinearHead(score.in_features)
    with torch.no_grad():
        head.linear.weight.copy_(score.weight)
        head.linear.bias.zero_()
        if score.bias is not None:
            head.linear.bias.copy_(score.bias)
    fit_rows(classifier.base_model, tokenizer.pad)
    model = RewardModel([CausalTrunk(classifier.base_model, POOLS["linear"])], [head], tokenizer.pad)
    model.normalize([1.0], [float(classifier.config.to_dict().get(SCORE_BIAS, 0.0))])
    return LoadedRewardModel(model.to(device), _reader(classifier.config, tokenizer), ())


def _reader(config: Any, tokenizer: Tokenizer) -> TextReader:
    """How a model that says nothing of it reads texts: by its own chat template, as far as its positions reach."""
    limit = context_in(config.to_dict())
    chat = chat_of(Conversations(AUTO, None, {}), tokenizer)
    return TextReader(chat, LONGEST if limit is None else limit)
