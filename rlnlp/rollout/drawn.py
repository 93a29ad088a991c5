"""What a rollout's tokens were drawn with: their probabilities on the way that sampling takes, token by token."""

import torch
from torch import Tensor

from rlnlp.device import computing_in
from rlnlp.maths.distribution import Distribution, draw_logits, taken_logits
from rlnlp.models.decoder import Decoder
from rlnlp.models.policy import Policy
from rlnlp.types import Rollout


@torch.no_grad()
def as_drawn(policy: Policy, rollout: Rollout, distribution: Distribution) -> tuple[Tensor, Tensor]:
    """Log-probability of each token where it was drawn, and the probability of an end token there, both (B, T).

    The log-probabilities are of the distribution without its filters, nats; the end's probability is with them. 0 where
    the rollout has no token. ``policy`` is the one that ``rollout`` was drawn from, with the same weights.
    """
    width, longest = rollout.prompts.mask.shape[1], rollout.mask.shape[1]
    tokens, unfiltered = rollout.responses, distribution.unfiltered()
    decoder, inputs = Decoder(policy, longest), rollout.prompts.tokens
    logprobs, ends = [], []
    with computing_in(policy.dtype, tokens.device):
        for t in range(longest):
            logits = decoder(inputs, rollout.attention[:, : width + t])
            position = torch.full_like(tokens[:, t], t)
            taken = taken_logits(logits, tokens[:, t], position, unfiltered).log_softmax(-1)
            logprobs.append(taken.gather(-1, tokens[:, t : t + 1]).squeeze(-1))
            drawable = draw_logits(logits, position, distribution).softmax(-1)
            ends.append(drawable[:, [token for token in distribution.end if token < drawable.shape[-1]]].sum(-1))
            inputs = tokens[:, t : t + 1]
    none = ~rollout.mask
    return torch.stack(logprobs, 1).masked_fill(none, 0), torch.stack(ends, 1).masked_fill(none, 0)
