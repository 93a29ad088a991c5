"""Gradients of a policy, as the check of a model looks at them."""

import torch
from torch import Tensor

from rlnlp.errors import describe, out_of_memory
from rlnlp.models.policy import Policy
from rlnlp.types import Rollout


def gradient_fault(policy: Policy, rollout: Rollout) -> str | None:
    """Why no gradient can be computed, in words; None if it can.

    It goes back to the first of the weights, the embedding of the tokens as a rule: gradients of all of them would take
    the memory of a second model.
    """
    try:
        with torch.enable_grad():
            _gradients(policy, rollout, policy.trainable()[:1])
    except Exception as error:
        if out_of_memory(error):
            raise
        return describe(error)
    return None


def gradient_norms(policy: Policy, rollout: Rollout) -> Tensor:
    """The norm of each weight's gradient of some loss."""
    return torch.stack([g.norm() for g in _gradients(policy, rollout, policy.trainable()) if g is not None])


def _gradients(policy: Policy, rollout: Rollout, weights: list[torch.nn.Parameter]) -> tuple[Tensor | None, ...]:
    if not weights:
        return ()
    read = policy.reading(rollout)
    loss = policy.outputs(read).logits.float().log_softmax(-1)[..., 0][read.rollout.mask].sum()
    return torch.autograd.grad(loss, weights, allow_unused=True)
