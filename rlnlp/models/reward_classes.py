"""Reward models as models for sequence classification of transformers, with one label."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from rlnlp.models.files import SCORE_BIAS
from rlnlp.models.reward_encoder import EncoderTrunk, with_body
from rlnlp.models.reward_heads import LinearHead
from rlnlp.models.reward_model import MEAN, RewardModel


def folded(model: RewardModel) -> tuple[Tensor, float] | None:
    """The weight (1, D) and the bias of the one linear head that gives the model's scores; None if there is none."""
    heads = [head for head in model.heads if isinstance(head, LinearHead)]
    if len(heads) < len(model.heads) or len(model.trunks) > 1 or (len(heads) > 1 and model.combine != MEAN):
        return None
    gain = model.gain.double()
    weights = torch.stack([head.linear.weight.detach()[0].double() for head in heads])
    biases = torch.stack([head.linear.bias.detach()[0].double() for head in heads])
    weight = (gain.unsqueeze(1) * weights).mean(0, keepdim=True).float()
    return weight, float((gain * biases + model.bias.double()).mean())


def classifier_of(model: RewardModel) -> Any:
    """The model for sequence classification of transformers with the model's own trunk; None if there is none.

    Its logit and ``rlnlp_score_bias`` of its config are the model's score.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    body = model.trunks[0].body
    if isinstance(model.trunks[0], EncoderTrunk):
        return _of_encoder(model)
    head = folded(model)
    kind: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(body.config), None)
    if head is None or kind is None:
        return None
    config = copy.deepcopy(body.config)
    config.num_labels, config.architectures = 1, [kind.__name__]
    config.get_text_config().pad_token_id = config.pad_token_id = model.pad
    setattr(config, SCORE_BIAS, head[1])
    with torch.device("meta"):
        classifier = kind(config)
    prefix = f"{classifier.base_model_prefix}."
    own = {name: weight for name, weight in classifier.named_parameters() if not name.startswith(prefix)}
    inner = classifier.base_model
    if type(inner) is not type(body) or [tuple(weight.shape) for weight in own.values()] != [tuple(head[0].shape)]:
        return None
    if {k: v.shape for k, v in inner.state_dict().items()} != {k: v.shape for k, v in body.state_dict().items()}:
        return None
    setattr(classifier, classifier.base_model_prefix, body)
    name = next(iter(own))
    owner, _, attribute = name.rpartition(".")
    setattr(classifier.get_submodule(owner), attribute, nn.Parameter(head[0], requires_grad=False))
    return classifier.eval()


@torch.no_grad()
def _of_encoder(model: RewardModel) -> Any:
    """The class of the one member of an encoder, its last layer multiplied by the gain; None of several members."""
    if len(model.heads) > 1:
        return None
    classifier = with_body(model.heads[0], model.trunks[0])
    last = [
        layer for layer in model.heads[0].rest.modules() if isinstance(layer, nn.Linear) and layer.out_features == 1
    ]
    if len(last) != 1:
        return None
    (layer,) = [part for part in classifier.modules() if isinstance(part, nn.Linear) and part.out_features == 1]
    for weight in layer.parameters():
        weight.mul_(model.gain[0])
    setattr(classifier.config, SCORE_BIAS, float(model.bias[0]))
    return classifier
