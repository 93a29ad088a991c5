"""The critic: V(s), the expected return from a state, by a head on the policy, an adapter or a model of its own."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from rlnlp.device import computing_in
from rlnlp.maths.distribution import Distribution
from rlnlp.models.calling import argument_names, hidden_of, named_only
from rlnlp.models.fast import checkpointed
from rlnlp.models.lora import Adapter, Adapters, merge
from rlnlp.models.policy import Policy, policy_output
from rlnlp.models.reading import Reading, Sharing, reading
from rlnlp.types import ActorCriticOutput, Rollout


class ValueHead(nn.Module):
    """One number from a hidden state. It starts the same everywhere: it must not pull at a trained trunk."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) -> (B, T)."""
        values: Tensor = self.linear(hidden.to(self.linear.weight.dtype)).squeeze(-1)
        return values

    @torch.no_grad()
    def start_at(self, value: float) -> None:
        """A fresh head gives ``value`` everywhere instead of 0; one that has learned, from a file, stays as it is."""
        if math.isfinite(value) and not bool(self.linear.weight.any()):
            self.linear.bias.fill_(value)


class PolicyWithValueHead(nn.Module):
    """A policy with a value head on its last hidden state: one forward for both."""

    def __init__(self, policy: Policy, head: ValueHead) -> None:
        super().__init__()
        self.policy, self.head = policy, head

    def forward(self, rollout: Rollout, distribution: Distribution) -> ActorCriticOutput:
        """As the policy, and the value of the state before each response token, (B, T)."""
        read, width = self.policy.reading(rollout), rollout.mask.shape[1]
        outputs = self.policy.outputs(read, output_hidden_states=True)
        out = policy_output(outputs.logits, read.rollout, distribution)
        found = (out.logprobs, out.entropy, before_each_token(self.head, hidden_of(outputs), read))
        return ActorCriticOutput(*(read.restored(figures, width) for figures in found))


class ValuesOfHead(nn.Module):
    """The values of a head on a policy alone: only the head learns."""

    def __init__(self, policy: Policy, head: ValueHead) -> None:
        super().__init__()
        self.policy, self.head = policy, head

    def forward(self, rollout: Rollout) -> Tensor:
        """The value of the state before each response token, (B, T), with a gradient for the head only."""
        read = self.policy.reading(rollout)
        with torch.no_grad():
            hidden = hidden_of(self.policy.outputs(read, output_hidden_states=True))
        return read.restored(before_each_token(self.head, hidden, read), rollout.mask.shape[1])


class Critic(nn.Module):
    """A transformer of its own with a value head."""

    def __init__(
        self, trunk: Any, head: ValueHead, dtype: torch.dtype = torch.float32, first_position: int = 0
    ) -> None:
        super().__init__()
        self.trunk, self.head, self.dtype, self.first_position = trunk.eval(), head, dtype, first_position
        self.names = argument_names(trunk)
        self.sharing: Sharing | None = None
        self.recomputed: list[nn.Module] = []

    @property
    def light_tokens(self) -> int:
        """So many tokens have a graph that is small beside the weights with their gradients and moments."""
        return self.head.linear.in_features

    def forward(self, rollout: Rollout) -> Tensor:
        """The value of the state before each response token, (B, T)."""
        read = reading(rollout, self.sharing, self.first_position)
        with computing_in(self.dtype, rollout.mask.device), read.attending(self.trunk.config):
            hidden = hidden_of(self.trunk(**read_by(self.names, read)))
        return read.restored(before_each_token(self.head, hidden, read), rollout.mask.shape[1])


class AdapterCritic(nn.Module):
    """A second adapter of the base of a policy, with a value head: no second copy of the weights."""

    def __init__(self, policy: Policy, adapter: Adapter, adapters: Adapters, head: ValueHead) -> None:
        super().__init__()
        self.adapter, self.head, self.adapters = adapter, head, adapters
        self.base = (policy,)  # in a tuple: its weights are not the critic's
        self.names = argument_names(policy.lm.base_model)

    @property
    def light_tokens(self) -> int:
        """So many tokens have a graph that is small beside what learns with its gradients and moments: none."""
        return 0

    def forward(self, rollout: Rollout) -> Tensor:
        """The value of the state before each response token, (B, T)."""
        (policy,) = self.base
        read = policy.reading(rollout)
        device, config = rollout.mask.device, policy.lm.config
        with self.adapters.using(self.adapter), computing_in(policy.dtype, device), read.attending(config):
            hidden = hidden_of(policy.lm.base_model(**read_by(self.names, read)))
        return read.restored(before_each_token(self.head, hidden, read), rollout.mask.shape[1])


def read_by(names: frozenset[str], read: Reading) -> dict[str, Any]:
    """The arguments with which a trunk reads a rollout, of those that are among ``names``."""
    arguments = {
        "input_ids": read.tokens, "attention_mask": read.attention, "position_ids": read.positions, "use_cache": False,
    }  # fmt: skip
    return named_only(names, arguments)


def before_each_token(head: ValueHead, hidden: Tensor, read: Reading) -> Tensor:
    """Values of the positions before the response tokens, 0 where the mask is False. (R, L, D) -> (N, T)."""
    values: Tensor = head(read.hidden(hidden))
    return values.masked_fill(~read.rollout.mask, 0)


def value_head(policy: Policy) -> ValueHead:
    """A fresh head that fits the policy."""
    return ValueHead(policy.hidden_size).to(policy.device)


def critic_like(policy: Policy) -> Critic:
    """A critic that starts from a copy of the policy's trunk, and learns all of it."""
    trunk = copy.deepcopy(policy.lm.base_model).requires_grad_(True)
    if policy.adapter is not None:
        merge(trunk, policy.adapter)
    return fitted_to(policy, Critic(trunk, value_head(policy), policy.dtype, policy.first_position))


def adapter_critic(policy: Policy) -> AdapterCritic:
    """A critic that starts from a copy of the policy's adapter, on the same weights."""
    assert policy.adapter is not None, "the settings refuse it without an adapter"
    assert policy.adapters is not None, "an adapter is used by layers"
    return AdapterCritic(policy, copy.deepcopy(policy.adapter), policy.adapters, value_head(policy))


def fitted_to(policy: Policy, critic: Critic) -> Critic:
    """``critic``, recomputing its layers and sharing prompts if the policy does, whose check holds for its class."""
    if isinstance(critic.trunk, type(policy.lm.base_model)):
        critic.sharing = policy.sharing
    critic.recomputed = checkpointed(critic.trunk) if policy.recomputed else []
    return critic
