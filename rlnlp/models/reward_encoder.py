"""Encoders as reward models: the pooling and the head of their class for sequence classification in transformers.

Every such class makes its logit of one token's hidden state, of the mean of all or of what its body itself pools.
"""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlnlp.device import computing_in
from rlnlp.models.calling import argument_names, hidden_of, named_only
from rlnlp.models.locate import UNBOUNDED, context_in
from rlnlp.models.reward_pooling import Pool, pooled
from rlnlp.models.text_tokens import TextBatch


class EncoderTrunk(nn.Module):
    """The body of an encoder: a vector by ``pool``, and behind it what the body itself pools, if it does."""

    def __init__(self, body: Any, pool: Pool, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.body, self.pool, self.first_position = body, pool, 0
        self.dtype: torch.dtype = dtype
        self.names = argument_names(body)

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding: tokens that the model knows."""
        return int(self.body.get_input_embeddings().num_embeddings)

    @property
    def context(self) -> int:
        """The longest text that the model can read, tokens."""
        named = self.body.named_modules()
        tables = [
            part for name, part in named if name.endswith("position_embeddings") and isinstance(part, nn.Embedding)
        ]
        if tables:  # RoBERTa's begins behind the row of padding
            return tables[0].num_embeddings - (0 if tables[0].padding_idx is None else tables[0].padding_idx + 1)
        return context_in(self.body.config.to_dict()) or UNBOUNDED

    def forward(self, batch: TextBatch) -> Tensor:
        """One vector for each text, (B, D), or (B, 2 D) where the body pools too."""
        tokens, mask = batch.rows()
        with computing_in(self.dtype, tokens.device):
            out = self.body(**named_only(self.names, {"input_ids": tokens, "attention_mask": mask.long()}))
        vector, own = pooled(self.pool, hidden_of(out), mask), out.get("pooler_output")
        return vector if own is None else torch.cat([vector, own], dim=1)


class Replay(nn.Module):
    """In the place of an encoder's body: gives the class the vectors that it is called with."""

    def __init__(self, pools: bool) -> None:
        super().__init__()
        self.pools = pools

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the body would answer a text of one token."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        given = next(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.is_floating_point())
        vector, own = given.chunk(2, dim=2) if self.pools else (given, None)
        return BaseModelOutputWithPooling(last_hidden_state=vector, pooler_output=None if own is None else own[:, 0])


class ClassHead(nn.Module):
    """All of a class for sequence classification but its body, with weights of its own."""

    def __init__(self, classifier: Any, pools: bool) -> None:
        super().__init__()
        body, prefix = classifier.base_model, classifier.base_model_prefix
        setattr(classifier, prefix, Replay(pools))
        self.rest = copy.deepcopy(classifier)
        setattr(classifier, prefix, body)

    def forward(self, features: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """(B, D) -> (B,); nothing is drawn from ``rng``."""
        given = features.float().unsqueeze(1)
        ones = torch.ones(given.shape[:2], dtype=torch.long, device=given.device)
        scores: Tensor = self.rest(inputs_embeds=given, attention_mask=ones).logits[:, 0]
        return scores

    @torch.no_grad()
    def start(self, rng: np.random.Generator) -> None:
        """Weights of its layers from N(0, s^2), s of the model's config as its class starts them; biases are 0."""
        deviation = self.rest.config.to_dict().get("initializer_range", 0.02)
        for layer in self.rest.modules():
            if isinstance(layer, nn.Linear):
                drawn = rng.normal(0, deviation, layer.weight.numel())
                layer.weight.copy_(torch.from_numpy(drawn).view_as(layer.weight))
                if layer.bias is not None:
                    layer.bias.zero_()


def with_body(head: ClassHead, trunk: EncoderTrunk) -> Any:
    """The class for sequence classification of a head and a trunk; the weights of the head are copies."""
    classifier = copy.deepcopy(head.rest)
    classifier.config = copy.deepcopy(classifier.config)
    setattr(classifier, classifier.base_model_prefix, trunk.body)
    return classifier
