"""Policy and critic of which each process has a part."""

from torch import nn

from rlnlp.config.model import Device
from rlnlp.models.critic import AdapterCritic, Critic
from rlnlp.models.policy import Policy
from rlnlp.processes.rows import process_count
from rlnlp.processes.sharding import shard


def share_weights(where: Device, policy: Policy, critic: Critic | AdapterCritic | None = None) -> None:
    """With ``device.parallel=fsdp``, leave a part of the weights of both in each process.

    What is a copy of either is to be made before.
    """
    if where.parallel != "fsdp" or process_count() == 1:
        return
    policy.files()  # which are made of the class of the model, and that is another one now
    shard(policy.lm, _layers(policy.lm))
    if critic is not None:
        shard(critic, _layers(critic))


def _layers(module: nn.Module) -> list[nn.Module]:
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [each for each in module.modules() if isinstance(each, GradientCheckpointingLayer)]
