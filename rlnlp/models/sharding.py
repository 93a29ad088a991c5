"""Models of which each process has a part."""

from torch import nn

from rlnlp.config.model import Device
from rlnlp.models.critic import AdapterCritic, Critic
from rlnlp.models.policy import Policy
from rlnlp.models.reward_model import RewardModel
from rlnlp.processes.rows import process_count
from rlnlp.processes.sharding import shard


def share_weights(where: Device, policy: Policy, critic: Critic | AdapterCritic | None = None) -> None:
    """With ``device.parallel=fsdp``, leave a part of the weights of both in each process.

    What is a copy of either is to be made before.
    """
    if not in_parts(where):
        return
    policy.files()  # which are made of the class of the model, and that is another one now
    shard(policy.lm, _layers(policy.lm))
    if critic is not None:
        shard(critic, _layers(critic))


def share_members(where: Device, model: RewardModel) -> None:
    """The same of a reward model's trunks and heads."""
    if in_parts(where):
        for each in (*model.trunks, *model.heads):
            shard(each, _layers(each))


def in_parts(where: Device) -> bool:
    """True if each process has a part of the weights: all make the same passes then, in the same order."""
    return where.parallel == "fsdp" and process_count() > 1


def _layers(module: nn.Module) -> list[nn.Module]:
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [each for each in module.modules() if isinstance(each, GradientCheckpointingLayer)]
