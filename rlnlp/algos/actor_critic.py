"""The actor and its critic as what PPO needs of them: a look without gradients, and learners to be stepped in turn."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from rlnlp.algos.optim import Optimizers, optimizers
from rlnlp.config.algos import Optimization, Ppo
from rlnlp.errors import Exit, Failure
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.masked import masked_mean
from rlnlp.models.critic import Critic, ValuedPolicy, ValueHead
from rlnlp.models.policy import Policy, logprob_fn
from rlnlp.run.checkpoint import Parts
from rlnlp.types import (
    ActorCriticOutput,
    Experience,
    PolicyOutput,
    Rollout,
    length_sorted_rows,
    restore_row_order,
    take,
)


@dataclass(frozen=True)
class Terms:
    """A loss per token, (B, T), and figures to be averaged over tokens, each (B, T)."""

    loss: Tensor
    figures: dict[str, Tensor]


PolicyTerms = Callable[[PolicyOutput, Experience], Terms]
ValueTerms = Callable[[Tensor, Experience], Terms]


@dataclass(frozen=True)
class Learner:
    """What is stepped by itself: its loss, its optimizers with their settings, the name of its gradient's norm."""

    terms: Callable[[Experience], Terms]
    steppers: Optimizers
    c: Optimization
    norm: str
    dtype: torch.dtype


@dataclass(frozen=True)
class ActorCritic:
    """``look``: what policy and critic say of a rollout, without a gradient. ``warming``: only the critic learns.

    ``mismatch``: how far the distribution that was drawn from is from the scored one, if they differ at all.
    """

    parts: Parts
    look: Callable[[Rollout], ActorCriticOutput]
    mismatch: Callable[[Rollout, Tensor], dict[str, float]]
    learners: list[Learner]
    warming: list[Learner]


def shared(
    policy: Policy, head: ValueHead, drawn: Distribution, policy_terms: PolicyTerms, value_terms: ValueTerms, c: Ppo
) -> ActorCritic:
    """A value head on the policy's trunk: one forward, one loss, one optimizer. ``drawn``: how tokens are drawn."""
    both, d = ValuedPolicy(policy, head), drawn.unfiltered()
    steppers = {**optimizers(policy, c), **critic_optimizers(head, c)}

    def terms(e: Experience) -> Terms:
        out = both(e.rollout, d)
        actor, critic = policy_terms(out, e), value_terms(out.values, e)
        return Terms(actor.loss + c.vf_coef * critic.loss, {**actor.figures, **critic.figures})

    def head_terms(e: Experience) -> Terms:
        return value_terms(both.values(e.rollout), e)

    return ActorCritic(
        {"policy": policy, "critic": head, **steppers},
        in_pieces(lambda rollout: both.look(rollout, d), c.micro_batch_size),
        mismatch(policy, drawn, c.micro_batch_size),
        [Learner(terms, steppers, c, "grad_norm", policy.dtype)],
        [Learner(head_terms, steppers, c, "grad_norm", policy.dtype)],
    )


def separate(
    policy: Policy, critic: Critic, drawn: Distribution, policy_terms: PolicyTerms, value_terms: ValueTerms, c: Ppo
) -> ActorCritic:
    """Two models, each with its own loss and optimizer, stepped in turn: one graph lives at a time unless graphs are
    small. ``drawn`` as in ``shared``.
    """
    d, actors, critics = drawn.unfiltered(), optimizers(policy, c), critic_optimizers(critic, c)

    def look(rollout: Rollout) -> ActorCriticOutput:
        # Two graphs at a time only where a graph is small beside the weights with their gradients and moments.
        small = rollout.attention.numel() <= critic.head.linear.in_features
        with torch.set_grad_enabled(small and torch.is_grad_enabled()):
            values = critic.look(rollout)
        said = policy.look(rollout, d)  # last: its graph is the next to be used
        return ActorCriticOutput(said.logprobs, said.entropy, values)

    acts = Learner(lambda e: policy_terms(policy(e.rollout, d), e), actors, c, "grad_norm", policy.dtype)
    learns = Learner(lambda e: value_terms(critic(e.rollout), e), critics, c, "critic_grad_norm", policy.dtype)
    return ActorCritic(
        {"policy": policy, "critic": critic, **actors, **critics},
        in_pieces(look, c.micro_batch_size),
        mismatch(policy, drawn, c.micro_batch_size),
        [acts, learns],
        [learns],
    )


def critic_optimizers(critic: nn.Module, c: Ppo) -> Optimizers:
    """The optimizers of what only the critic has, with its own rate."""
    rate = c.learning_rate if c.critic_learning_rate is None else c.critic_learning_rate
    return {f"critic_{name}": made for name, made in optimizers(critic, replace(c, learning_rate=rate)).items()}


def in_pieces(look: Callable[[Rollout], ActorCriticOutput], size: int) -> Callable[[Rollout], ActorCriticOutput]:
    """``look`` at ``size`` responses at a time, without gradients unless all are one piece: that one may be kept."""

    def whole(rollout: Rollout) -> ActorCriticOutput:
        if len(rollout.mask) <= size:
            return look(rollout)
        rows = length_sorted_rows(rollout, size)
        with torch.no_grad():
            said = [look(take(rollout, part)) for part in rows]
        logprobs, entropy = (
            restore_row_order([s.logprobs for s in said], rows),
            restore_row_order([s.entropy for s in said], rows),
        )
        return ActorCriticOutput(logprobs, entropy, restore_row_order([s.values for s in said], rows))

    return whole


def mismatch(policy: Policy, drawn: Distribution, size: int) -> Callable[[Rollout, Tensor], dict[str, float]]:
    """The mean over tokens of log p (as drawn) - log p (as scored), nats; nothing where no filter is on."""
    if not drawn.filtered:
        return lambda rollout, logprobs: {}
    as_drawn = logprob_fn(policy, drawn, size)
    return lambda rollout, logprobs: {
        "sampling_mismatch": float(masked_mean(as_drawn(rollout) - logprobs, rollout.mask))
    }


def check_ratio_is_one(found: dict[str, float], dtype: torch.dtype) -> None:
    """Before the first update, old and new log-probabilities are of one policy: ratio 1, approx_kl 0, up to rounding.

    Raises:
        Failure: exit 4, if they are not: whatever is optimized then is not the objective.
    """
    ratio, divergence = (0.1, 2e-2) if dtype != torch.float32 else (1e-3, 1e-5)
    if "ratio" in found and (abs(found["ratio"] - 1) > ratio or found["approx_kl"] > divergence):
        raise Failure(
            Exit.MODEL,
            f"before the first update the ratio is {found['ratio']:.4f}, not 1, and approx_kl {found['approx_kl']:.2g},"
            " not 0: the model gives the same text other log-probabilities each time\n"
            "usual causes: dropout or noise in the model's own code, a layer that depends on the rest of the batch"
            " (batch norm, expert capacity), attention that sees padding",
        )
