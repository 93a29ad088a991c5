"""Encoders from files, as trunks and heads of reward models."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from rlnlp.device import exact_products
from rlnlp.errors import Exit, Failure, describe, one_line, out_of_memory
from rlnlp.models.fast import checkpointed
from rlnlp.models.load import pretrained
from rlnlp.models.reward_check import check_texts, check_trunks, same_scores
from rlnlp.models.reward_encoder import ClassHead, EncoderTrunk
from rlnlp.models.reward_model import APART, RewardModel
from rlnlp.models.reward_padding import fit_rows
from rlnlp.models.reward_pooling import ENCODER_POOLS
from rlnlp.models.text_tokens import text_batch
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.models.tokenizer_file import tokenizer_of_files
from rlnlp.rng import stream

BEGINNINGS = ("pooler.",)  # of weights that a body has for a head alone: files of language models may lack them


@dataclass(frozen=True)
class Encoder:
    """A class for sequence classification with one label; ``fresh``: its head is not from the files."""

    classifier: Any
    fresh: bool

    @property
    def context(self) -> int:
        """The longest text that it can read, tokens."""
        return EncoderTrunk(self.classifier.base_model, ENCODER_POOLS[0]).context

    def trainable(self) -> list[torch.nn.Parameter]:
        """The weights that learn."""
        return [weight for weight in self.classifier.parameters() if weight.requires_grad]

    def recompute_layers(self) -> None:
        """Recompute layers in the backward pass from now on: less memory, more time.

        Raises:
            Failure: exit 4, if the architecture cannot.
        """
        checkpointed(self.classifier)


def is_encoder(model_id: str, local_only: bool) -> bool:
    """True if transformers scores the texts of this model otherwise than by their last token: an encoder.

    Raises:
        Failure: exit 4, if its config cannot be read.
    """
    from transformers import AutoConfig

    try:
        read = AutoConfig.from_pretrained(model_id, local_files_only=local_only, trust_remote_code=False, num_labels=1)
    except Exception as error:
        raise Failure(Exit.MODEL, f"model '{one_line(model_id)}': {one_line(str(error))}") from error
    return not read.to_dict().get("is_decoder") and _of_encoder(read)


def _of_encoder(read: Any) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    kind: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(read), None)
    if kind is None:
        return False
    with torch.device("meta"):
        classifier = kind(copy.deepcopy(read))
    prefix = f"{classifier.base_model_prefix}."
    return len([name for name, _ in classifier.named_parameters() if not name.startswith(prefix)]) != 1


def load_encoder(model_id: str, local_only: bool, device: torch.device) -> Encoder:
    """The encoder at ``model_id``, a directory or hub id, with the head of its class.

    Raises:
        Failure: exit 4, if it cannot be loaded whole: the head alone may be missing from the files.
    """
    from transformers import AutoModelForSequenceClassification

    what = f"model '{one_line(model_id)}'"
    with quiet():  # a missing head is what is expected here
        classifier, loaded = pretrained(
            AutoModelForSequenceClassification, model_id, what, local_only, device, num_labels=1
        )
    body = f"{classifier.base_model_prefix}."
    missing = sorted(loaded["missing_keys"])
    lacking = [name for name in missing if name.startswith(body) and not name.removeprefix(body).startswith(BEGINNINGS)]
    if lacking:
        raise Failure(Exit.MODEL, f"{what} lacks {len(lacking)} weights, such as {lacking[0]}")
    facts = classifier.config.to_dict()
    if facts.get("is_encoder_decoder"):
        raise Failure(Exit.MODEL, f"{what} is an encoder with a decoder: a reward model needs one or the other")
    return Encoder(classifier.eval(), bool(missing))


@contextmanager
def quiet() -> Iterator[None]:
    """A context without the warnings of transformers."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def encoder_tokenizer(model_id: str, local_only: bool) -> Tokenizer:
    """The tokenizer of an encoder: its texts end with the token that its own end with.

    Raises:
        Failure: exit 4, if it cannot be loaded, or ends texts with none.
    """
    raw, note = tokenizer_of_files(model_id, f"the tokenizer of '{one_line(model_id)}'", local_only)
    if raw.eos_token is None:
        raw.eos_token = raw.sep_token
    if raw.eos_token_id is None or raw.pad_token_id is None:
        lacks = "end" if raw.eos_token_id is None else "padding"
        raise Failure(Exit.MODEL, f"the tokenizer of '{one_line(model_id)}' has no {lacks} token")
    start = () if raw.cls_token_id is None else (raw.cls_token_id,)
    return Tokenizer(raw, (raw.eos_token_id,), raw.pad_token_id, start, note=note)


def reward_model_of_encoder(
    encoder: Encoder, tokenizer: Tokenizer, members: int, of: str, combine: str, uncertainty_coef: float,
    frozen_trunk: bool, rng_seed: int, device: torch.device, dtype: torch.dtype = torch.float32,
) -> RewardModel:  # fmt: skip
    """A reward model of an encoder; its head starts as the files have it, else from a stream of its own.

    Raises:
        Failure: exit 4, if its class makes its logit otherwise than of one vector, or if that depends on padding.
    """
    classifier = encoder.classifier
    fit_rows(classifier.base_model, tokenizer.pad)
    trunk, head = parts_of(classifier, tokenizer.pad)
    trunk.dtype = dtype
    check_trunks([trunk.to(device)], tokenizer.pad, device, "the model")
    heads = [copy.deepcopy(head) for _ in range(members)]
    for number, each in enumerate(heads if encoder.fresh else ()):
        each.start(stream(rng_seed, "reward-head", number))
    count = members if of == APART and not frozen_trunk else 1
    trunks = [trunk, *(copy.deepcopy(trunk) for _ in range(count - 1))]
    return RewardModel(trunks, heads, tokenizer.pad, combine, uncertainty_coef, frozen_trunk).to(device)


@torch.no_grad()
def parts_of(classifier: Any, pad: int) -> tuple[EncoderTrunk, ClassHead]:
    """An encoder's body as a trunk, and the head of its class, which give the class's logit together.

    Raises:
        Failure: exit 4, if they do not.
    """
    body = classifier.base_model
    with exact_products():
        texts = check_texts(body.get_input_embeddings().num_embeddings, EncoderTrunk(body, ENCODER_POOLS[0]).context)
        batches = [text_batch([text], pad, torch.device("cpu")) for text in texts]
        try:
            head = ClassHead(classifier, body(input_ids=batches[0].rows()[0]).get("pooler_output") is not None)
            want = [classifier(input_ids=batch.rows()[0]).logits[:, 0] for batch in batches]
            for pool in ENCODER_POOLS:
                trunk = EncoderTrunk(body, pool)
                if same_scores([head(trunk(batch)) for batch in batches], want):
                    return trunk, head
            why = "it is not of the first or the last token, nor of the mean of all"
        except Exception as error:  # the classes of transformers differ in what they ask of their bodies
            if out_of_memory(error):
                raise
            why = describe(error)
    raise Failure(
        Exit.MODEL,
        f"{type(classifier).__name__} cannot be a reward model: its logit must be of one vector ({why})"
        "\nuse another encoder, or a causal model",
    )
