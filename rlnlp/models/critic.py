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
    positions,
    sparing,
    widened,
)
from rlnlp.types import Rollout, ValuedEvaluation, snug


class ValueHead(nn.Module):
    """One number from the hidden state of a place. It starts as 0 everywhere: it must not pull at a trained trunk."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) -> (B, T)."""
        values: Tensor = self.linear(hidden.to(self.linear.weight.dtype)).squeeze(-1)
        return values


class ValuedPolicy(Looked[[Distribution], ValuedEvaluation]):
    """A policy with a value head on its last hidden state: one forward for both."""

    def __init__(self, policy: Policy, head: ValueHead) -> None:
        super().__init__()
        self.policy, self.head = policy, head

    def read(self, rollout: Rollout, distribution: Distribution) -> ValuedEvaluation:
        """As the policy, and the value of the state before each response token, (B, T)."""
        tight, width = snug(rollout), rollout.mask.shape[1]
        out = self.policy.outputs(tight, output_hidden_states=True)
        said = evaluation(out.logits, tight, distribution)
        values = before_each_token(self.head, out.hidden_states[-1], tight)
        return ValuedEvaluation(widened(said.logprobs, width), widened(said.entropy, width), widened(values, width))

    def values(self, rollout: Rollout) -> Tensor:
        """The values alone, (B, T), with a gradient for the head only."""
        tight = snug(rollout)
        with torch.no_grad():
            hidden = self.policy.outputs(tight, output_hidden_states=True).hidden_states[-1]
        return widened(before_each_token(self.head, hidden, tight), rollout.mask.shape[1])


class Critic(Looked[[], Tensor]):
    """A transformer of its own with a value head."""

    def __init__(self, trunk: Any, head: ValueHead, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.trunk, self.head, self.dtype = trunk.eval(), head, dtype
        self.blocks = Blocks(trunk)
        self.recomputed: list[nn.Module] = []

    def read(self, rollout: Rollout) -> Tensor:
        """The value of the state before each response token, (B, T)."""
        tight = snug(rollout)
        with computing_in(self.dtype, rollout.mask.device), sparing(self.blocks, self.recomputed, tight):
            hidden = self.trunk(
                input_ids=tight.tokens[:, :-1],
                attention_mask=tight.attention[:, :-1].long(),
                position_ids=positions(tight.attention[:, :-1]),
                use_cache=False,
            ).last_hidden_state
        return widened(before_each_token(self.head, hidden, tight), rollout.mask.shape[1])


def before_each_token(head: ValueHead, hidden: Tensor, rollout: Rollout) -> Tensor:
    """Values of the places before the response tokens, 0 where the mask is False. (B, P + T - 1, D) -> (B, T)."""
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


def load_critic(place: str, local_only: bool, policy: Policy) -> Critic:
    """A critic that starts from a reward model: a model for sequence classification with one label, and its head.

    Raises:
        Failure: exit 4, if it cannot be loaded whole, has another number of labels, or other tokens than the policy.
    """
    from transformers import AutoModelForSequenceClassification

    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            place,
            local_files_only=local_only,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=attention_kind(policy.lm.device),
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        why = one_line(str(error).strip().split("\n")[0])
        raise Failure(Exit.MODEL, f"algo.critic_path: '{place}' cannot be loaded: {why}") from error
    missing = sorted(info["missing_keys"])
    if missing or model.config.num_labels != 1 or not isinstance(vars(model)["_modules"].get("score"), nn.Linear):
        lacks = f"it lacks {len(missing)} weights, such as {missing[0]}" if missing else "it has no score of one label"
        raise Failure(Exit.MODEL, f"algo.critic_path: '{place}' is no reward model: {lacks}")
    rows, own = (m.get_input_embeddings().num_embeddings for m in (model, policy.lm))
    if rows < own:
        raise Failure(Exit.MODEL, f"algo.critic_path: '{place}' knows {rows} tokens, the policy {own}")
    head = ValueHead(model.config.get_text_config().hidden_size)
    with torch.no_grad():
        head.linear.weight.copy_(model.score.weight)
        if model.score.bias is not None:
            head.linear.bias.copy_(model.score.bias)
    critic = Critic(model.base_model, head, policy.dtype).to(policy.lm.device)
    critic.recomputed = checkpointed(critic.trunk) if policy.recomputed else []
    return critic
