"""Whether as many processes were started as the settings are made for; before torch is imported."""

from collections.abc import Iterator, Sequence
from typing import Any

from rlnlp.config.algos import Ppo
from rlnlp.config.reward_model import FitRewardModel
from rlnlp.config.rlhf import Rlhf
from rlnlp.errors import Exit, Failure
from rlnlp.processes.launch import is_started, place

WAY = "torchrun --nproc-per-node 2 -m rlnlp ..."
SHARDED = ("reinforce", "ppo", "sft", "reward-model")
DIVIDED = {"ddp": (*SHARDED, "rlhf"), "fsdp": SHARDED}  # algorithms that several processes can share


def check_processes(config: Any) -> None:
    """Refuse settings that do not fit the processes that were started.

    Raises:
        Failure: exit 2.
    """
    if found := [*_faults(config)]:
        raise Failure(Exit.CONFIG, "\n".join(found[:3]))


def check_alone(jobs: Sequence[Any]) -> None:
    """Refuse a sweep of ``jobs`` in or with several processes: each job is a process of its own.

    Raises:
        Failure: exit 2.
    """
    if place().processes > 1:
        raise Failure(Exit.CONFIG, "a sweep starts a process for each of its jobs: start it without torchrun")
    for config in jobs:
        if config.device.parallel != "none":
            what = f"a job of a sweep is one process, got device.parallel={config.device.parallel}"
            raise Failure(Exit.CONFIG, f"{what}\nsweep with device.parallel=none, or start the runs one by one")


def _faults(config: Any) -> Iterator[str]:
    parallel, count, algo = config.device.parallel, place().processes, config.algo
    if parallel == "none":
        if count > 1:
            yield f"{count} processes were started, and device.parallel=none trains in one"
            yield "add device=ddp (device.parallel=ddp to resume), or start one process, without torchrun"
        return
    if not is_started():
        yield f"device.parallel={parallel} is for several processes, and nothing has started them"
        yield f"start them: {WAY} device={parallel}; or train in one: device.parallel=none"
        return
    if algo.name not in DIVIDED[parallel]:
        yield f"device.parallel={parallel} is for {', '.join(DIVIDED[parallel])}, not for algo={algo.name}"
        yield "use device=ddp"
        return
    if config.device.name not in ("auto", "cpu", "cuda"):
        yield f"device.name must be auto, cpu or cuda in several processes, got {config.device.name}"
    stages = {"algo": algo}
    if isinstance(algo, Rlhf):
        stages = {"algo.reward_model": algo.reward_model, "algo.policy": algo.policy}
    for key, stage in stages.items():
        if stage.batch_size % count:
            yield f"{key}.batch_size must be a multiple of the {count} processes, got {stage.batch_size}"
        elif isinstance(stage, Ppo) and stage.minibatch % count:
            yield f"{key}.mini_batch_size must be a multiple of the {count} processes, got {stage.minibatch}"
    if parallel == "fsdp":
        yield from _fsdp_faults(config)


def _fsdp_faults(config: Any) -> Iterator[str]:
    """What needs whole weights."""
    algo = config.algo
    if config.model.lora.on:
        yield "model.lora.rank must be null with device.parallel=fsdp: an adapter is small, use device=ddp"
    if algo.optimizer != "adamw":
        yield f"algo.optimizer must be adamw with device.parallel=fsdp, got {algo.optimizer}"
    if isinstance(algo, FitRewardModel):
        if algo.frozen_trunk:
            yield "algo.frozen_trunk must be false with device.parallel=fsdp: a head is small, use device=ddp"
    elif algo.micro_batch_tokens is not None:
        yield "algo.micro_batch_tokens must be null with device.parallel=fsdp: processes have as many micro-batches"
    if config.device.share_prompts != "never":
        yield "device.share_prompts must be never with device.parallel=fsdp, as device=fsdp sets it"
    if isinstance(algo, Ppo) and algo.critic == "shared" and algo.critic_warmup_steps:
        yield "algo.critic_warmup_steps must be 0 with a shared critic and device.parallel=fsdp"
