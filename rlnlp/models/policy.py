"""A causal language model, seen as a policy over responses."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rlnlp.batching import length_sorted_rows, pad_to, restore_row_order, trim_padding
from rlnlp.device import computing_in
from rlnlp.maths.distribution import Distribution, taken_logits
from rlnlp.maths.token_statistics import logprobs_and_entropy
from rlnlp.models.fast import checkpointed, recomputing
from rlnlp.types import PolicyOutput, Rollout, take

LogprobFn = Callable[[Rollout], Tensor]
Answer = TypeVar("Answer")


class Policy(nn.Module):
    """pi(response | prompt). Nothing outside this room touches ``lm``, the model of transformers.

    ``files`` gives the content of its config and tokenizer by file name: beside the weights of ``body`` they make a
    folder that transformers loads.
    """

    def __init__(self, lm: Any, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.lm = lm.eval()  # no dropout: sampling, old and new log-probabilities are of one distribution
        self.dtype = dtype
        self.recomputed: list[nn.Module] = []
        self.files: Callable[[], Mapping[str, bytes]] = dict

    @property
    def body(self) -> nn.Module:
        """The module whose weights are stored."""
        body: nn.Module = self.lm
        return body

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.lm.device
        return device

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return int(self.lm.config.get_text_config().hidden_size)

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding: tokens that the model knows."""
        return int(self.lm.get_input_embeddings().num_embeddings)

    @property
    def context(self) -> int:
        """The longest text that the model can read, tokens."""
        config = self.lm.config
        return int(config.max_position_embeddings if hasattr(config, "max_position_embeddings") else config.n_positions)

    def trainable(self) -> list[nn.Parameter]:
        """The weights that learn."""
        return [p for p in self.parameters() if p.requires_grad]

    def recompute_layers(self) -> None:
        """Recompute layers in the backward pass from now on: less memory, more time.

        Raises:
            Failure: exit 4, if the architecture cannot.
        """
        self.recomputed = checkpointed(self.lm)

    def reference(self) -> "Policy":
        """A copy of the policy as it is now, without gradients."""
        return copy.deepcopy(self).requires_grad_(False)

    def forward(self, rollout: Rollout, distribution: Distribution) -> PolicyOutput:
        """Log-probability of each response token and entropy where it was drawn, both (B, T)."""
        trimmed, width = trim_padding(rollout), rollout.mask.shape[1]
        out = policy_output(self.outputs(trimmed).logits, trimmed, distribution)
        return PolicyOutput(pad_to(out.logprobs, width), pad_to(out.entropy, width))

    def outputs(self, rollout: Rollout, **wanted: Any) -> Any:
        """The model's outputs, logits of the response positions only: no others go through the head."""
        read, width = rollout.attention[:, :-1], rollout.responses.shape[1]  # nothing is predicted from the last token
        # By number, not by count: a frozen head would multiply the slice of a count many times slower than a matrix.
        before = torch.arange(read.shape[1] - width, read.shape[1], device=read.device)
        with computing_in(self.dtype, rollout.mask.device), recomputing(self.recomputed):
            return self.lm(
                input_ids=rollout.tokens[:, :-1],
                attention_mask=read.long(),
                position_ids=positions(read),
                use_cache=False,
                logits_to_keep=before,
                **wanted,
            )


class Decoder:
    """Logits of the next token for a batch of texts that grow; the key-value cache grows with them."""

    def __init__(self, policy: Policy) -> None:
        self.lm, self.cache = policy.lm, None

    def __call__(self, tokens: Tensor, attention: Tensor) -> Tensor:
        """The logits after ``tokens``, those that are new since the last call, (B, n) -> (B, V).

        ``attention`` (B, L) marks the real tokens of the whole text so far.
        """
        out = self.lm(
            input_ids=tokens,
            attention_mask=attention.long(),
            position_ids=positions(attention)[:, -tokens.shape[1] :],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.cache = out.past_key_values
        logits: Tensor = out.logits[:, -1]
        return logits

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows of the batch only."""
        assert self.cache is not None, "called after a first pass"
        self.cache.batch_select_indices(rows)


def policy_output(logits: Tensor, rollout: Rollout, distribution: Distribution) -> PolicyOutput:
    """Log-probability and entropy, both (B, T), from the logits of the response positions, (B, T, V)."""
    position = (rollout.mask.long().cumsum(1) - 1).clamp(min=0)
    logits = taken_logits(logits, rollout.responses, position, distribution)
    logprobs, entropy = logprobs_and_entropy(logits, rollout.responses, spent=True)
    return PolicyOutput(logprobs.masked_fill(~rollout.mask, 0), entropy.masked_fill(~rollout.mask, 0))


def positions(attention: Tensor) -> Tensor:
    """Position of each real token among the real ones, 0 for padding: left padding must not move a prompt. (B, L)."""
    return (attention.long().cumsum(1) - 1).clamp(min=0)


def logprob_fn(policy: Policy, distribution: Distribution, micro_batch_size: int) -> LogprobFn:
    """``rollout -> log pi`` of its responses, (B, T), without a gradient, under ``policy`` as it is when called."""

    @torch.no_grad()
    def logprobs(rollout: Rollout) -> Tensor:
        rows = length_sorted_rows(rollout, micro_batch_size)
        return restore_row_order([policy(take(rollout, part), distribution).logprobs for part in rows], rows)

    return logprobs


def remembered(function: Callable[[Rollout], Answer]) -> Callable[[Rollout], Answer]:
    """``function`` with its last answer kept: two that ask about one rollout cost one forward."""
    last: list[tuple[Rollout, Answer]] = []

    def ask(rollout: Rollout) -> Answer:
        if not last or last[0][0] is not rollout:
            last[:] = [(rollout, function(rollout))]
        return last[0][1]

    return ask
