"""What makes a pass cheaper and changes no result: a pass that is kept, layers that are recomputed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, TypeVar

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.utils.checkpoint import noop_context_fn

from rlnlp.errors import Exit, Failure
from rlnlp.models.group_attention import attending_as_now
from rlnlp.types import PolicyOutput, Rollout

Output = TypeVar("Output", bound=Tensor | PolicyOutput)
Pass = TypeVar("Pass", bound=PolicyOutput)
Contexts = Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]  # of a pass, of its repetition


class FirstPass(Generic[Pass]):
    """A forward pass that is handed to the first update. ``detached`` are its numbers; ``take`` gives the pass away.

    The loop must not hold the graph while the update makes others: on the workload below that costs 3 % of the memory.
    """

    def __init__(self, output: Pass) -> None:
        self.detached = output.detach()
        self._output = [output]

    def take(self) -> Pass:
        """The pass, with its graph if it has one; once."""
        return self._output.pop()


def first_pass_kept(
    forward: Callable[[Rollout], Output], rollout: Rollout, output: Output
) -> Callable[[Rollout], Output]:
    """``forward``; its first call for ``rollout`` itself returns ``output``, its pass at the same weights with graph.

    The log-probabilities of the policy that a rollout was drawn from need a pass. Where the first update learns from
    the same rows at the same weights, that pass serves for both. An ``output`` without a graph is never returned.

    Measured in alternating processes on two cores, 64 responses of 24 tokens of a Llama of 1.6 million parameters:
    without it REINFORCE runs at .87 of the speed, PPO with a shared critic at .85 and with a separate one at .97; the
    memory is the same within 3 %.
    """
    kept = [output] if has_graph(output) else []

    def call(rows: Rollout) -> Output:
        return kept.pop() if kept and rows is rollout else forward(rows)

    return call


def has_graph(output: Tensor | PolicyOutput) -> bool:
    """True if a gradient can be taken through ``output``."""
    return (output if isinstance(output, Tensor) else output.logprobs).requires_grad


class Recomputed:
    """A layer's ``forward`` that keeps no activations where a gradient is taken: the backward pass makes them again.

    transformers recomputes in training mode only, where dropout is on as well. ``contexts`` are around both passes.
    """

    def __init__(self, forward: Callable[..., Any], config: Any, contexts: Contexts = noop_context_fn) -> None:
        self.forward, self.config, self.contexts = forward, config, contexts

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer gives."""
        if not torch.is_grad_enabled():
            return self.forward(*args, **kwargs)
        return torch.utils.checkpoint.checkpoint(
            self.forward, *args, use_reentrant=False, context_fn=self._contexts, **kwargs
        )

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        once, again = self.contexts()
        return once, _both(attending_as_now(self.config), again)


@contextmanager
def _both(one: AbstractContextManager[None], other: AbstractContextManager[None]) -> Iterator[None]:
    with one, other:
        yield


def checkpointed(model: Any, contexts: Contexts = noop_context_fn) -> list[nn.Module]:
    """The layers of a transformers model, which recompute in the backward pass from now on.

    Raises:
        Failure: exit 4, if the architecture cannot.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise Failure(Exit.MODEL, f"model.gradient_checkpointing: {type(model).__name__} has no layers that can do it")
    for layer in layers:
        if not isinstance(layer.forward, Recomputed):  # a copy of a policy that recomputes has them already
            layer.forward = Recomputed(layer.forward, model.config, contexts)
    return layers
