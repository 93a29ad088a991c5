"""What a reward model's heads stand on: a text as one vector."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rlnlp.device import computing_in
from rlnlp.models.calling import argument_names, hidden_of, named_only, positions
from rlnlp.models.text_tokens import TextBatch

Pool = Callable[[Tensor, Tensor], Tensor]  # hidden states (B, L, D) and where they are real (B, L) -> (B, D)


def last_token(hidden: Tensor, mask: Tensor) -> Tensor:
    """The hidden state of each text's last real token. (B, L, D), (B, L) right-padded -> (B, D)."""
    return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]


def mean_of_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean of each text's hidden states over its real tokens. (B, L, D), (B, L) -> (B, D)."""
    real = mask.unsqueeze(-1)
    return hidden.float().masked_fill(~real, 0).sum(1) / real.sum(1)


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


POOLS: dict[str, Pool] = {"linear": last_token, "mlp": mean_of_tokens}  # by the name of the head
