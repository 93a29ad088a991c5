"""What a reward model's heads stand on: a text as one vector."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from rlnlp.device import computing_in
from rlnlp.models.calling import argument_names, hidden_of, named_only, positions
from rlnlp.models.locate import UNBOUNDED, context_in
from rlnlp.models.reward_pooling import Pool, pooled
from rlnlp.models.shared_prompt import Size, answers_in_a_row, attention_bias, shared_rows, size_of, window_of
from rlnlp.models.text_tokens import TextBatch


class CausalTrunk(nn.Module):
    """The body of a causal language model, read without dropout; ``body`` is of transformers, without a head.

    ``shares``: a prompt that texts have in common may be computed once. It is False until a check has shown that this
    gives the same vectors.
    """

    def __init__(self, body: Any, pool: Pool, dtype: torch.dtype = torch.float32, first_position: int = 0) -> None:
        super().__init__()
        self.body, self.pool, self.dtype, self.first_position = body, pool, dtype, first_position
        self.names = argument_names(body)
        self.shares = False

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

    @cached_property
    def size(self) -> Size:
        """Of the model, as far as it tells what a pass costs."""
        return size_of(self.body)

    @cached_property
    def longest_row(self) -> int:
        """The longest row of a prompt and its answers: none that is longer than what a token sees, or than a text."""
        return window_of(self.body.config, self.context)

    def forward(self, batch: TextBatch) -> Tensor:
        """One vector for each text, (B, D)."""
        count = answers_in_a_row(batch, self.size, self.longest_row) if self.shares else 1
        if count > 1:
            return self.shared(batch, count)
        tokens, mask = batch.rows()
        return pooled(self.pool, self._hidden(tokens, positions(mask, self.first_position), mask.long()), mask)

    def shared(self, batch: TextBatch, count: int) -> Tensor:
        """The same with up to ``count`` answers behind each prompt, which is computed once, (B, D)."""
        rows = shared_rows(batch, count, self.first_position)
        hidden = self._hidden(rows.tokens, rows.positions, attention_bias(rows.sees, self.dtype))
        return self.pool(hidden.flatten(0, 1), rows.places, rows.real)

    def _hidden(self, tokens: Tensor, at: Tensor, attention: Tensor) -> Tensor:
        """The last hidden states, (R, L, D)."""
        arguments = {"input_ids": tokens, "attention_mask": attention, "position_ids": at, "use_cache": False}
        with computing_in(self.dtype, tokens.device):
            return hidden_of(self.body(**named_only(self.names, arguments)))
