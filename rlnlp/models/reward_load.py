"""Reward models from files: of a run, or any model for sequence classification with one label."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rlnlp.config.conversations import AUTO, Conversations
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.models.chat import Chat, chat_of
from rlnlp.models.files import OF_CLASS, REWARD_RECORD, SCORE_BIAS
from rlnlp.models.load import load_tokenizer, pretrained
from rlnlp.models.reward_check import check_trunks
from rlnlp.models.reward_encoder import ClassHead, EncoderTrunk
from rlnlp.models.reward_encoder_load import encoder_tokenizer, parts_of
from rlnlp.models.reward_files import HERE, MEMBERS, Record
from rlnlp.models.reward_heads import LinearHead, MlpHead, new_head
from rlnlp.models.reward_model import RewardModel
from rlnlp.models.reward_padding import fit_rows, padded_apart
from rlnlp.models.reward_pooling import POOLS
from rlnlp.models.reward_trunk import CausalTrunk
from rlnlp.models.text_tokens import TextReader
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.models.vocabulary import token_count

LONGEST = 2048  # tokens of a text, for a model whose config has no limit


@dataclass(frozen=True)
class LoadedRewardModel:
    """A reward model with how it reads texts; ``notes`` are for the user."""

    model: RewardModel
    reader: TextReader
    notes: tuple[str, ...]


def load_reward_model(path: str, local_only: bool, device: torch.device) -> LoadedRewardModel:
    """The reward model at ``path``, a directory or hub id as ``models.locate.locate_reward_model`` finds it.

    A model that was not saved by rlnlp gives its logit: gain 1, bias 0.

    Raises:
        Failure: exit 4, if it cannot be loaded whole, was changed since it was saved, or has another number of labels.
    """
    what = f"reward model '{one_line(path)}'"
    directory = Path(path)
    if (directory / REWARD_RECORD).is_file():
        try:
            return _own(directory, Record.read(directory), what, device)
        except ValueError as error:
            raise Failure(Exit.MODEL, f"{what}: {error}\nuse another one, or train it again", "damaged") from error
    return _foreign(path, what, local_only, device)


def _own(directory: Path, record: Record, what: str, device: torch.device) -> LoadedRewardModel:
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoModelForSequenceClassification

    trunks: list[CausalTrunk | EncoderTrunk] = []
    heads: list[LinearHead | MlpHead | ClassHead] = []
    tokenizer = _tokenizer(str(directory / record.trunks[0]), True, record.head == OF_CLASS)
    for name in record.trunks:
        kind = AutoModelForSequenceClassification if record.head == OF_CLASS or name == HERE else AutoModel
        loaded, found = pretrained(kind, str(directory / name), what, True, device)
        if missing := sorted(key for key in found["missing_keys"] if not key.startswith("pooler.")):
            raise ValueError(f"its files lack {len(missing)} weights, such as {missing[0]}")
        if record.head == OF_CLASS:
            trunk, head = parts_of(loaded, tokenizer.pad)
            trunks.append(trunk)
            heads = [copy.deepcopy(head) for _ in range(record.members)]
        else:
            trunks.append(CausalTrunk(loaded.base_model, POOLS[record.head], torch.float32, record.first_position))
            heads = [new_head(record.head, record.width) for _ in range(record.members)]
    model = RewardModel(trunks, heads, tokenizer.pad, record.combine, record.uncertainty_coef)
    try:
        model.heads.load_state_dict(load_file(directory / MEMBERS))
    except RuntimeError as error:
        raise ValueError(f"{MEMBERS} does not fit {REWARD_RECORD}") from error
    model.normalize(record.gain, record.bias)
    chat = Chat(tokenizer, record.template, record.template_args, record.system, record.plainly)
    return _checked(model.to(device), TextReader(chat, record.max_tokens), what)


def _foreign(path: str, what: str, local_only: bool, device: torch.device) -> LoadedRewardModel:
    from transformers import AutoModelForSequenceClassification

    classifier, loaded = pretrained(AutoModelForSequenceClassification, path, what, local_only, device)
    missing = sorted(loaded["missing_keys"])
    if missing:
        raise Failure(Exit.MODEL, f"{what} is none: it lacks {len(missing)} weights, such as {missing[0]}")
    if classifier.config.num_labels != 1:
        raise Failure(Exit.MODEL, f"{what} has {classifier.config.num_labels} labels: a score is one number")
    causal = isinstance(dict(classifier.named_children()).get("score"), nn.Linear)
    tokenizer = _tokenizer(path, local_only, not causal)
    rows = classifier.get_input_embeddings().num_embeddings
    if token_count(tokenizer) > rows:
        raise Failure(Exit.MODEL, f"{what}: its tokenizer has {token_count(tokenizer):,} tokens, the model {rows:,}")
    tokenizer = padded_apart(tokenizer)
    fit_rows(classifier.base_model, tokenizer.pad)
    trunk, head = _causal(classifier) if causal else parts_of(classifier, tokenizer.pad)
    model = RewardModel([trunk], [head], tokenizer.pad)
    model.normalize([1.0], [float(classifier.config.to_dict().get(SCORE_BIAS, 0.0))])
    chat = chat_of(Conversations(AUTO, None, {}), tokenizer)
    return _checked(model.to(device), TextReader(chat, min(model.context, LONGEST)), what)


def _causal(classifier: Any) -> tuple[CausalTrunk | EncoderTrunk, LinearHead | ClassHead]:
    score = classifier.score
    head = LinearHead(score.in_features)
    with torch.no_grad():
        head.linear.weight.copy_(score.weight)
        head.linear.bias.zero_()
        if score.bias is not None:
            head.linear.bias.copy_(score.bias)
    return CausalTrunk(classifier.base_model, POOLS["linear"]), head


def _tokenizer(path: str, local_only: bool, of_encoder: bool) -> Tokenizer:
    return encoder_tokenizer(path, local_only) if of_encoder else load_tokenizer(path, local_only)


def _checked(model: RewardModel, reader: TextReader, what: str) -> LoadedRewardModel:
    check_trunks(model.trunks, model.pad, model.device, what)
    note = reader.chat.tokenizer.note
    return LoadedRewardModel(model, reader, (note,) if note else ())
