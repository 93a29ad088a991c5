"""The quantities that gradient descent makes smaller, per token; ``masked.reduce`` makes one number of them."""

from torch import Tensor


def policy_gradient(logprobs: Tensor, advantages: Tensor) -> Tensor:
    """-A_t log pi(a_t | s_t): its gradient is the policy gradient, negated. (B, T), (B, T) or (B, 1) -> (B, T).

    Williams 1992 ("Simple statistical gradient-following algorithms"), section 5. The advantage is a number here:
    no gradient passes through it.

    Raises:
        ValueError: ``advantages`` has another shape.
    """
    if advantages.shape not in (logprobs.shape, (logprobs.shape[0], 1)):
        raise ValueError(f"advantages {tuple(advantages.shape)} do not fit logprobs {tuple(logprobs.shape)}")
    return -advantages.detach() * logprobs


def negative_log_likelihood(logprobs: Tensor) -> Tensor:
    """-log pi(a_t | s_t), nats per token. (B, T) -> (B, T)."""
    return -logprobs
