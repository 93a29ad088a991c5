"""Whether a model gives responses that share their prompt the logits that each has behind its own."""

import torch

from rlnlp.errors import out_of_memory
from rlnlp.models.policy import Policy
from rlnlp.models.reading import each_alone, grouped
from rlnlp.types import Rollout, take

ROWS = ((0, 1, 2), (3,))  # of the responses below: those of a row have one prompt


@torch.no_grad()
def shares_prompts(policy: Policy, rollout: Rollout, tolerance: float) -> bool:
    """True if no logit differs by more than ``tolerance``; ``rollout`` has three texts or more."""
    prompts, said = (torch.tensor(rows, device=rollout.mask.device) for rows in ((0, 0, 0, 1), (0, 1, 2, 1)))
    asked, mask = take(rollout.prompts, prompts), rollout.mask[said]
    attention = torch.cat([asked.mask, mask], dim=1)
    mixed = Rollout(asked, rollout.responses[said], mask, attention, rollout.ended[said])
    try:
        policy.share_prompts("auto")
        read = grouped(mixed, ROWS, policy.first_position)
        got = policy.outputs(read).logits[read.order]
    except Exception as error:  # a model that attends in its own way may raise anything
        if out_of_memory(error):
            raise
        return False
    finally:
        policy.sharing = None
    want = policy.outputs(each_alone(mixed, policy.first_position)).logits
    return float((got - want)[mask].abs().max()) <= tolerance
