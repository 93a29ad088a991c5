"""Estimates of KL(policy || reference) from samples of the policy."""

from torch import Tensor


def k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Log pi - log ref of the taken tokens, nats: unbiased for the KL, may be negative. Any shape.

    Schulman, "Approximating KL divergence" (2020), names it k1.
    """
    return logprobs - ref_logprobs


def k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """(log pi - log ref)^2 / 2 of the taken tokens, nats: never negative, biased, small variance. Any shape.

    Schulman, "Approximating KL divergence" (2020), names it k2.
    """
    return (logprobs - ref_logprobs).square() / 2


def k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Rho - 1 - log rho, rho = ref / pi, of the taken tokens, nats: unbiased for the KL and never negative. Any shape.

    Schulman, "Approximating KL divergence" (2020), names it k3. The log-ratio is clamped to at most 20, so that
    a token that the policy almost never takes cannot overflow.
    """
    log_ratio = ref_logprobs - logprobs
    return log_ratio.clamp(max=20).expm1() - log_ratio.clamp(max=20)


def limited_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """``k3`` clamped to at most 10 nats, for use in rewards (the limit of NeMo-RL and verl). Any shape."""
    return k3(logprobs, ref_logprobs).clamp(max=10)


ESTIMATORS = {"k1": k1, "k2": k2, "k3": limited_k3}  # of a token's KL in the reward, by the name in the config
