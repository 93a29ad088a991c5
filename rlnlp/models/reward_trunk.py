"""What a reward model's heads stand on: a text as one vector."""

from typing import Any

import torch
from torch import Tensor, nn

from rlnlp.device import computing_in
from rlnlp.models.calling import argument_names, hidden_of, named_only, positions
from rlnlp.models.locate import UNBOUNDED, context_in
from rlnlp.models.reward_pooling import Pool
from rlnlp.models.text_tokens import TextBatch


class CausalTrunk(nn.Module):
    """The body of a causal language model, read without dropout; ``body`` is of transformers, without a head."""

    def __init__(self, body: Any, pool: Pool, dtype: torch.dtype = torch.float32, first_position: int = 0) -> None:
        super().__init__()
        self.body, self.pool, self.dtype, self.first_position = body, pool, dtype, first_position
        self.names = argument_names(body)
        self.recomputed: list[nn.Module] = []

    @property
    def width(self) -> int:
        """Of the vector."""
        return int(self.body.config.get_text_config().hidden_size)

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding: tokens that the model knows."""
        return int(self.body.get_input_embeddings().num_embeddings)

    @property
    def context(self) -> int:
        """The longest text that the model can read, tokens."""
        limit = context_in(self.body.config.to_dict())
        return UNBOUNDED if limit is None else limit - self.first_position

    def forward(self, batch: TextBatch) -> Tensor:
        """One vector for each text, (B, D)."""
        tokens, mask = batch.rows()
        return self.pool(self.hidden(tokens, mask), mask)

    def hidden(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The last hidden states of texts padded on the right. (B, L), (B, L) -> (B, L, D)."""
        arguments = {
            "input_ids": tokens, "attention_mask": mask.long(), "use_cache": False,
            "position_ids": positions(mask, self.first_position),
        }  # fmt: skip
        with computing_in(self.dtype, tokens.device):
            return hidden_of(self.body(**named_only(self.names, arguments)))
