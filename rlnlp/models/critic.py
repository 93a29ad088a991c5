"""The critic: V(s), what the rest of a response is worth, from a head on the policy or from a model of its own."""

import copy
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from rlnlp.errors import Exit, Failure, one_line
from rlnlp.maths.distribution import Distribution
from rlnlp.models.blocks import Blocks
from rlnlp.models.look import Looked
from rlnlp.models.policy import (
    Policy,
    attention_kind,
    checkpointed,
    computing_in,
    evaluation,
    pad_to,
    positions,
    sparing,
)
from rlnlp.types import ActorCriticOutput, Rollout, trim_padding


class ValueHead(nn.Module):
    """One number from a hidden state. It starts as 0 everywhere: it must not pull at a trained trunk."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) -> (B, T)."""
        values: Tensor = self.linear(hidden.to(self.linear.weight.dtype)).squeeze(-1)
        return values


class ValuedPolicy(Looked[[Distribution], ActorCriticOutput]):
    """A policy with a value head on its last hidden state: one forward for both."""

    def __init__(self, policy: Policy, head: ValueHead) -> None:
        super().__init__()
        self.policy, self.head = policy, head

    def read(self, rollout: Rollout, distribution: Distribution) -> ActorCriticOutput:
        """As the policy, and the value of the state before each response token, (B, T)."""
        trimmed, width = trim_padding(rollout), rollout.mask.shape[1]
        out = self.policy.outputs(trimmed, output_hidden_states=True)
        said = evaluation(out.logits, trimmed, distribution)
        values = before_each_token(self.head, out.hidden_states[-1], trimmed)
        return ActorCriticOutput(pad_to(said.logprobs, width), pad_to(said.entropy, width), pad_to(values, width))

    def values(self, rollout: Rollout) -> Tensor:
        """The values alone, (B, T), with a gradient for the head only."""
        trimmed = trim_padding(rollout)
        with torch.no_grad():
            hidden = self.policy.outputs(trimmed, output_hidden_states=True).hidden_states[-1]
        return pad_to(before_each_token(self.head, hidden, trimmed), rollout.mask.shape[1])


class Critic(Looked[[], Tensor]):
    """A transformer of its own with a value head."""

    def __init__(self, trunk: Any, head: ValueHead, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.trunk, self.head, self.dtype = trunk.eval(), head, dtype
        self.blocks = Blocks(trunk)
        self.recomputed: list[nn.Module] = []

    def read(self, rollout: Rollout) -> Tensor:
        """The value of the state before each response token, (B, T)."""
        trimmed = trim_padding(rollout)
        with computing_in(self.dtype, rollout.mask.device), sparing(self.blocks, self.recomputed, trimmed):
            hidden = self.trunk(
                input_ids=trimmed.tokens[:, :-1],
                attention_mask=trimmed.attention[:, :-1].long(),
                position_ids=positions(trimmed.attention[:, :-1]),
                use_cache=False,
            ).last_hidden_state
        return pad_to(before_each_token(self.head, hidden, trimmed), rollout.mask.shape[1])


def before_each_token(head: ValueHead, hidden: Tensor, rollout: Rollout) -> Tensor:
    """Values of the positions before the response tokens, 0 where the mask is False. (B, P + T - 1, D) -> (B, T)."""
    values: Tensor = head(hidden[:, -rollout.mask.shape[1] :])
    return values.masked_fill(~rollout.mask, 0)


def value_head(policy: Policy) -> ValueHead:
    """A fresh head that fits the policy."""
    return ValueHead(policy.lm.config.get_text_config().hidden_size).to(policy.lm.device)


def critic_like(policy: Policy) -> Critic:
    """A critic that starts from a copy of the policy's trunk."""
    critic = Critic(copy.deepcopy(policy.lm.base_model), value_head(policy), policy.dtype)
    critic.recomputed = checkpointed(critic.trunk) if policy.recomputed else []
    return critic


def load_critic(model_id: str, local_only: bool, policy: Policy) -> Critic:
    """A critic that starts from a reward model: a model for sequence classification with one label, and its head.

    Raises:
        Failure: exit 4, if it cannot be loaded whole, has another number of labels, or other tokens than the policy.
    """
    from transformers import AutoModelForSequenceClassification

    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            model_id,
            local_files_only=local_only,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=attention_kind(policy.lm.device),
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        why = one_line(str(error).strip().split("\n")[0])
        raise Failure(Exit.MODEL, f"algo.critic_path: '{model_id}' cannot be loaded: {why}") from error
    missing = sorted(info["missing_keys"])
    if missing or model.config.num_labels != 1 or not isinstance(vars(model)["_modules"].get("score"), nn.Linear):
        lacks = f"it lacks {len(missing)} weights, such as {missing[0]}" if missing else "it has no score of one label"
        raise Failure(Exit.MODEL, f"algo.critic_path: '{model_id}' is no reward model: {lacks}")
    rows, own = (m.get_input_embeddings().num_embeddings for m in (model, policy.lm))
    if rows < own:
        raise Failure(Exit.MODEL, f"algo.critic_path: '{model_id}' knows {rows} tokens, the policy {own}")
    head = ValueHead(model.config.get_text_config().hidden_size)
    with torch.no_grad():
        head.linear.weight.copy_(model.score.weight)
        if model.score.bias is not None:
            head.linear.bias.copy_(model.score.bias)
    critic = Critic(model.base_model, head, policy.dtype).to(policy.lm.device)
    critic.recomputed = checkpointed(critic.trunk) if policy.recomputed else []
    return critic
