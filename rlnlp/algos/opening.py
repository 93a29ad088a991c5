"""What a run prints before its first step: what is trained on what, then how long it takes and what it writes."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import nn

from rlnlp.algos.optim import state_bytes
from rlnlp.config.algos import Optimization
from rlnlp.config.description import description, duration, measurements, saves, thing
from rlnlp.config.schema import OneStage, RlhfRun, Trained
from rlnlp.device import device_text, dtype_name, processes_text
from rlnlp.errors import counted
from rlnlp.run.disk import SPARE, size_text
from rlnlp.run.manifest import REWARD_MODEL
from rlnlp.run.parts import Parts, Pretrained, stored_tensors
from rlnlp.run.run import Run

FILTERED = (
    "warning: sampler.top_k, top_p or min_new_tokens is on: tokens are drawn under it and scored without it;"
    " sampling_mismatch in metrics.jsonl is the gap, nats per token"
)
WHOLE_CRITIC = (
    "note: algo.critic=separate learns all weights of a second model beside the policy's adapter;"
    " algo.critic=adapter learns a second adapter of the same weights"
)
LESS_DISK = "lower checkpoint.keep, or put the run elsewhere with hydra.run.dir="
Measured = TypeVar("Measured")
Modules = Mapping[str, nn.Module]  # what learns, by its name in a checkpoint; the first is the result
Trial = Callable[[int], float]  # step -> the seconds that it takes, from one that changes nothing
Opening = Callable[[Parts, Trial], Measured]
Around = TypeVar("Around")
Learning = TypeVar("Learning")


@dataclass(frozen=True)
class Prepared(Generic[Around, Learning]):
    """What an algorithm has before its first step: what is ``around`` the loop, the ``model`` that learns, a ``trial``.

    ``parts`` are those of a checkpoint, as far as they are known by then. ``once`` is what is done only once in the run
    and is in no trial, None if there is nothing of the kind.
    """

    around: Around
    model: Learning
    parts: Parts
    trial: Trial
    once: "Once | None" = None


class Once(Protocol):
    """Work that is done once in a run, when it is first needed, so that later steps and measurements are short."""

    spent: float  # seconds, so far

    def left(self) -> float:
        """The seconds that the rest of it takes, from what is done of it."""
        ...


class Rows(NamedTuple):
    """How many prompts or texts are trained on and measured on, and whether these are held out from training.

    ``notes`` tell what became of rows that are too long, empty, or there twice.
    """

    train: int
    heldout: int
    separate: bool
    notes: Sequence[str] = ()


def opener(
    config: OneStage, run: Run, device: torch.device, rows: Rows, measure: Callable[[], Measured]
) -> Opening[Measured]:
    """``opening`` where only what learns and the trial are not known yet."""
    return partial(opening, config, run, device, rows, measure)


def opening(
    config: OneStage, run: Run, device: torch.device, rows: Rows, measure: Callable[[], Measured],
    parts: Parts, trial: Trial, once: Once | None = None,
) -> Measured:  # fmt: skip
    """Print what is trained on what; measure, try a step, and print how long the run takes and what it writes.

    ``trial`` does the work of a step, changes nothing, and returns the seconds that a step takes, without what is done
    ``once``. Returns what ``measure`` returns. Of ``parts``, those of a checkpoint, the modules are read.
    """
    modules = modules_of(parts)
    run.describe(known(config, device, rows, modules))
    with run.display.waiting("measuring before training"):
        begun = time.monotonic()
        before = measure()
        seconds = time.monotonic() - begun - (once.spent if once else 0)
    with run.display.waiting("trying a step"):
        step = run.signals.estimate = trial(1)
    time_needed = time_text(config, run.progress.saved_step(), step, seconds, once.left() if once else 0)
    run.describe({"time": time_needed, "disk": disk_text(config, run.directory, modules)})
    return before


def modules_of(parts: Parts) -> dict[str, nn.Module]:
    """What learns, by its name in a checkpoint."""
    return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}


def known(config: Trained, device: torch.device, rows: Rows, modules: Modules) -> dict[str, str]:
    """The description of the settings, with what only the loaded models, the data and the machine tell."""
    sizes = [f"{name} {size_in_words(module)}" for name, module in modules.items()]
    texts = description(config, dtype_name(config.device.dtype, device))
    kind = thing(config)
    none = f"none held out, {rows.heldout:,} of them are measured on"
    held = f"{rows.heldout:,} held out" if rows.separate else none
    return {
        **texts,
        "model": f"{texts['model']}\nparameters: {', '.join(sizes)}",
        "device": device_text(device, config.device.threads) + processes_text(config.device.parallel),
        kind: "\n".join([f"{texts[kind].rpartition(', ')[0]}: {rows.train:,} to train on, {held}", *rows.notes]),
    }


def size_in_words(module: nn.Module) -> str:
    """How many weights a module has; of one that is stored without those that do not learn, how many learn too."""
    whole, learned = (
        sum(p.numel() for p in module.parameters() if p.requires_grad or every) for every in (True, False)
    )
    apart = isinstance(module, Pretrained) and learned < whole
    return f"{learned:,} in an adapter, of a base of {whole - learned:,}" if apart else f"{whole:,}"


def time_text(config: OneStage, done: int, step: float, measurement: float, once: float = 0) -> str:
    """How long a run of which ``done`` steps are done takes.

    ``step`` and ``measurement`` are the seconds of each, ``once`` those of what is still to be done once.
    """
    steps, more = max(0, config.algo.total_steps - done), measurements(config, done) - 1
    total = duration(once + (steps + config.algo.further_steps) * step + more * measurement)
    left = " left" if done else ""
    return (
        f"about {total}: {once_text(once)}{counted(steps, 'step')}{left} of {step:.2g} s (from a trial)"
        f"{further(config.algo)}, {counted(more, 'measurement')} of {measurement:.2g} s"
    )


def once_text(seconds: float) -> str:
    """What is done once, in words, if there is anything: the features of a trunk that does not learn."""
    return f"{duration(seconds)} once for the features of all texts, " if seconds else ""


def further(algo: Optimization) -> str:
    """The steps of further fits in words, if there are any."""
    return f", {algo.further_steps:,} more for the report" if algo.further_steps else ""


class DiskNeed(NamedTuple):
    """What a run writes at most: bytes of all of it, of a checkpoint, of a model, and how many there are of each."""

    total: int
    checkpoint: int
    checkpoints: int
    model: int
    models: int


def disk_need(config: Trained, modules: Modules) -> DiskNeed:
    """What a run writes at most; ``modules`` are what learns."""
    weights = {name: sum(t.nbytes for t in stored_tensors(module).values()) for name, module in modules.items()}
    one = sum(weights.values()) + sum(state_bytes(module, algo_of(config, name)) for name, module in modules.items())
    best = 1 if config.heldout.every else 0
    kept = min(saves(config), config.checkpoint.keep + best)
    staged = 1 if saves(config) > kept else 0  # an old one is removed when the new one is whole
    kept_models, measured = config.checkpoint.models_kept, measurements(config) - 2
    models = measured if kept_models is None else min(measured, kept_models + 2) if kept_models else 0  # best, staged
    first = next(iter(modules.values()))
    merged = config.model.lora.on and config.model.lora.merge
    kept_model = next(iter(weights.values()))
    result = sum(p.nbytes for p in first.parameters()) if merged else kept_model
    needed = (kept + staged) * one + result + models * kept_model + SPARE
    return DiskNeed(needed, one, kept, result, 1 + models)


def algo_of(config: Trained, name: str) -> Optimization:
    """What optimizes the module with this name."""
    if isinstance(config, RlhfRun):
        return config.algo.reward_model if name == REWARD_MODEL else config.algo.policy
    return config.algo


def need_text(need: DiskNeed, free: int) -> str:
    """What a run writes at most, beside what is free, bytes."""
    models = counted(need.models, "model") if need.models > 1 else "the model"
    return (
        f"{size_text(need.total)}: {counted(need.checkpoints, 'checkpoint')} of {size_text(need.checkpoint)} and"
        f" {models} of {size_text(need.model)}; {size_text(free)} free"
    )


def disk_text(config: Trained, directory: Path, modules: Modules) -> str:
    """What a run writes at most, beside what is free; with a warning if that is less."""
    need, free = disk_need(config, modules), shutil.disk_usage(directory).free
    text = need_text(need, free)
    return f"{text}\nwarning: that does not fit; {LESS_DISK}" if need.total > free else text
