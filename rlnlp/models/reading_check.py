"""Whether a model gives responses that share their prompt the logits that each has behind its own."""

from dataclasses import replace

import torch
from torch import Tensor

from rlnlp.errors import out_of_memory
from rlnlp.models.decoder import Decoder
from rlnlp.models.policy import Policy
from rlnlp.models.reading import LONG, each_alone, grouped, sharing_of
from rlnlp.types import Rollout, take

STEPS = 3  # tokens that are decoded
FEW = 3  # queries that attend at once, so that the texts have several blocks
ROWS = ((0, 1, 2), (3,))  # of the responses below: those of a row have one prompt


@torch.no_grad()
def shares_prompts(policy: Policy, rollout: Rollout, tolerance: float) -> bool:
    """True if no logit differs by more than ``tolerance``; ``rollout`` has three texts or more."""
    prompts, said = (torch.tensor(rows, device=rollout.mask.device) for rows in ((0, 0, 0, 1), (0, 1, 2, 1)))
    asked, mask = take(rollout.prompts, prompts), rollout.mask[said]
    attention = torch.cat([asked.mask, mask], dim=1)
    mixed = Rollout(asked, rollout.responses[said], mask, attention, rollout.ended[said])
    try:
        policy.sharing = sharing_of(policy.lm, policy.context, adapted=True)  # an adapter may come later
        found = []
        for block in (None, FEW):
            read = grouped(mixed, ROWS, policy.first_position, block)
            found.append(policy.outputs(read).logits[read.order])
        found.append(policy.outputs(each_alone(mixed, policy.first_position, FEW)).logits)
        decoded = [_decoded(policy, mixed, start) for start in _starts(policy)]
    except Exception as error:  # a model that attends in its own way may raise anything
        if out_of_memory(error):
            raise
        return False
    finally:
        policy.sharing = None
    want = policy.outputs(each_alone(mixed, policy.first_position)).logits
    apart = max(float((got - want)[mask].abs().max()) for got in found)
    apart = max([apart, *(float((got - want[:, :STEPS])[mask[:, :STEPS]].abs().max()) for got in decoded)])
    return apart <= tolerance


def _starts(policy: Policy) -> list[int]:
    """From how many tokens on the cache of long texts is to be tried: always, and never if short ones differ too."""
    assert policy.sharing is not None, "it is tried"
    if not (policy.cached and policy.shrinks):
        return []
    return [0, LONG] if policy.sharing.own_step else [0]


def _decoded(policy: Policy, rollout: Rollout, start: int) -> Tensor:
    """The logits before the first response tokens, token by token, with long texts from ``start``: (B, STEPS, V)."""
    assert policy.sharing is not None, "it is tried"
    policy.sharing = replace(policy.sharing, decoding_from=start)
    width, steps = rollout.prompts.mask.shape[1], min(STEPS, rollout.mask.shape[1])
    decoder, tokens = Decoder(policy, steps), rollout.prompts.tokens
    logits = []
    for t in range(steps):
        logits.append(decoder(tokens, rollout.attention[:, : width + t]))
        tokens = rollout.responses[:, t : t + 1]
    return torch.stack(logits, dim=1)
