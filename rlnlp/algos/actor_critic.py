"""Actor and critic for PPO: one forward for both, and learners that are stepped in turn."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from rlnlp.algos.optim import Optimizers, optimizers
from rlnlp.algos.update import TokenLosses
from rlnlp.config.algos import Optimization, Ppo
from rlnlp.maths.distribution import Distribution
from rlnlp.models.critic import AdapterCritic, Critic, PolicyWithValueHead, ValueHead, ValuesOfHead
from rlnlp.models.fast import first_pass_kept
from rlnlp.models.policy import Policy
from rlnlp.run.parts import Parts
from rlnlp.types import ActorCriticExperience, ActorCriticOutput, PolicyOutput, Rollout

PolicyLoss = Callable[[PolicyOutput, ActorCriticExperience], TokenLosses]
ValueLoss = Callable[[Tensor, ActorCriticExperience], TokenLosses]


@dataclass(frozen=True)
class Learner:
    """What is stepped by itself: its loss, its optimizers with their settings, the name of its gradient's norm."""

    loss_fn: Callable[[ActorCriticExperience], TokenLosses]
    optimizers: Optimizers
    algo: Optimization
    norm: str
    dtype: torch.dtype


class ActorCritic(Protocol):
    """A policy and a critic. ``parts`` is what a checkpoint holds of them; ``shares`` is as in ``Policy``."""

    parts: Parts

    @property
    def shares(self) -> bool:
        """True if responses may share their prompt."""
        ...

    def start_critic_at(self, value: float) -> None:
        """The mean return of the first rollout is known: a fresh critic may start from it."""
        ...

    def forward(self, rollout: Rollout) -> ActorCriticOutput:
        """Log-probabilities and entropy under the policy, values of the critic, each (B, T)."""
        ...

    def learners(
        self, policy_loss: PolicyLoss, value_loss: ValueLoss, rollout: Rollout, output: ActorCriticOutput
    ) -> list[Learner]:
        """What is stepped for each minibatch; ``output`` is a forward pass of ``rollout`` at the present weights."""
        ...

    def critic_only(self, value_loss: ValueLoss) -> list[Learner]:
        """The same where only the critic learns."""
        ...


class SharedActorCritic:
    """A value head on the policy's trunk: one forward, one loss, one step. Tokens are scored by ``distribution``."""

    def __init__(self, policy: Policy, head: ValueHead, distribution: Distribution, algo: Ppo) -> None:
        self.model, self.values = PolicyWithValueHead(policy, head), ValuesOfHead(policy, head)
        self.distribution, self.algo = distribution, algo
        self.optimizers = {**optimizers(policy, algo), **critic_optimizers(head, algo)}
        self.parts: Parts = {"policy": policy, "critic": head, **self.optimizers}

    @property
    def shares(self) -> bool:
        """True if responses may share their prompt."""
        return self.model.policy.shares

    def start_critic_at(self, value: float) -> None:
        """Nothing: on the enumerated language of the tests a seed of five then fell from .98 of the gain to .96."""

    def forward(self, rollout: Rollout) -> ActorCriticOutput:
        """Log-probabilities, entropy and values, each (B, T)."""
        output: ActorCriticOutput = self.model(rollout, self.distribution)
        return output

    def learners(
        self, policy_loss: PolicyLoss, value_loss: ValueLoss, rollout: Rollout, output: ActorCriticOutput
    ) -> list[Learner]:
        """One: policy loss + vf_coef value loss."""
        forward = first_pass_kept(self.forward, rollout, output)

        def loss_fn(experience: ActorCriticExperience) -> TokenLosses:
            out = forward(experience.rollout)
            actor, critic = policy_loss(out, experience), value_loss(out.values, experience)
            loss = actor.loss + self.algo.vf_coef * critic.loss
            return TokenLosses(loss, actor.mask, {**actor.figures, **critic.figures})

        return [self._learner(loss_fn)]

    def critic_only(self, value_loss: ValueLoss) -> list[Learner]:
        """The head alone, on a trunk that gets no gradient."""
        return [self._learner(lambda experience: value_loss(self.values(experience.rollout), experience))]

    def _learner(self, loss_fn: Callable[[ActorCriticExperience], TokenLosses]) -> Learner:
        return Learner(loss_fn, self.optimizers, self.algo, "grad_norm", self.model.policy.dtype)


class SeparateActorCritic:
    """Two models, each with its own loss and optimizer, stepped in turn: one graph is in memory at a time unless small.

    Tokens are scored by ``distribution``. The two may be adapters of the same weights.
    """

    def __init__(self, policy: Policy, critic: Critic | AdapterCritic, distribution: Distribution, algo: Ppo) -> None:
        self.policy, self.critic, self.distribution, self.algo = policy, critic, distribution, algo
        self.optimizers, self.critic_optimizers = optimizers(policy, algo), critic_optimizers(critic, algo)
        self.parts: Parts = {"policy": policy, "critic": critic, **self.optimizers, **self.critic_optimizers}

    @property
    def shares(self) -> bool:
        """True if responses may share their prompt."""
        return self.policy.shares

    def start_critic_at(self, value: float) -> None:
        """A fresh critic says ``value`` everywhere: the constant need not be learned from large errors first."""
        self.critic.head.start_at(value)

    def forward(self, rollout: Rollout) -> ActorCriticOutput:
        """Log-probabilities, entropy and values, each (B, T)."""
        # Two graphs at a time only where a graph is small beside the weights with their gradients and moments.
        small = rollout.attention.numel() <= self.critic.light_tokens
        with torch.set_grad_enabled(small and torch.is_grad_enabled()):
            values = self.critic(rollout)
        out = self.policy_forward(rollout)  # last: its graph is the next to be used
        return ActorCriticOutput(out.logprobs, out.entropy, values)

    def policy_forward(self, rollout: Rollout) -> PolicyOutput:
        """Log-probabilities and entropy, each (B, T)."""
        output: PolicyOutput = self.policy(rollout, self.distribution)
        return output

    def learners(
        self, policy_loss: PolicyLoss, value_loss: ValueLoss, rollout: Rollout, output: ActorCriticOutput
    ) -> list[Learner]:
        """The policy, then the critic."""
        actor = first_pass_kept(self.policy_forward, rollout, PolicyOutput(output.logprobs, output.entropy))
        critic = first_pass_kept(self.critic, rollout, output.values)

        def actor_loss(experience: ActorCriticExperience) -> TokenLosses:
            return policy_loss(actor(experience.rollout), experience)

        def critic_loss(experience: ActorCriticExperience) -> TokenLosses:
            return value_loss(critic(experience.rollout), experience)

        learner = Learner(actor_loss, self.optimizers, self.algo, "grad_norm", self.policy.dtype)
        return [learner, self._critic(critic_loss)]

    def critic_only(self, value_loss: ValueLoss) -> list[Learner]:
        """The critic."""
        return [self._critic(lambda experience: value_loss(self.critic(experience.rollout), experience))]

    def _critic(self, loss_fn: Callable[[ActorCriticExperience], TokenLosses]) -> Learner:
        return Learner(loss_fn, self.critic_optimizers, self.algo, "critic_grad_norm", self.policy.dtype)


def critic_optimizers(critic: nn.Module, algo: Ppo) -> Optimizers:
    """The optimizers of what only the critic has, with its own learning rate."""
    own = replace(algo, learning_rate=algo.critic_learning_rate)
    return {f"critic_{name}": made for name, made in optimizers(critic, own).items()}
