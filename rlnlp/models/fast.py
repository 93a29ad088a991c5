"""What makes a pass cheaper and changes no result: a pass that is kept, narrowed feed-forward, recomputed layers.

MEASURED
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from rlnlp.errors import Exit, Failure
from rlnlp.types import PolicyOutput, Rollout

Output = TypeVar("Output", bound=Tensor | PolicyOutput)
NEARLY_ALL = 0.97  # of the positions: to leave out the few others costs more than it saves


def first_pass_kept(
    forward: Callable[[Rollout], Output], rollout: Rollout, output: Output
) -> Callable[[Rollout], Output]:
    """``forward``; its first call for ``rollout`` itself returns ``output``, its pass at the same weights with graph.

    The log-probabilities of the policy that a rollout was drawn from need a pass. Where the first update learns from
    the same rows at the same weights, that pass serves for both. An ``output`` without a graph is never returned.
    """
    kept = [output] if has_graph(output) else []

    def call(rows: Rollout) -> Output:
        return kept.pop() if kept and rows is rollout else forward(rows)

    return call


def has_graph(output: Tensor | PolicyOutput) -> bool:
    """True if a gradient can be taken through ``output``."""
    return (output if isinstance(output, Tensor) else output.logprobs).requires_grad


def cheap_pass(
    feed_forward: "FeedForward", recomputed: list[nn.Module], rollout: Rollout
) -> AbstractContextManager[None]:
    """A context for a pass over ``rollout``. Layers that recompute must do all of their work twice."""
    return recomputing(recomputed) if recomputed else feed_forward.only_where_read(rollout)


@contextmanager
def recomputing(layers: list[nn.Module]) -> Iterator[None]:
    """A context in which checkpointed layers drop their activations, if a gradient is wanted.

    transformers does so in training mode only, where dropout is on as well; here the layers alone are in that mode,
    not what is in them, and only while a gradient is taken: sampling needs their cache.
    """
    for layer in layers:
        layer.training = torch.is_grad_enabled()
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False


def checkpointed(model: Any) -> list[nn.Module]:
    """The layers of a transformers model, now set to recompute in the backward pass.

    Raises:
        Failure: exit 4, if the architecture cannot.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise Failure(Exit.MODEL, f"model.gradient_checkpointing: {type(model).__name__} has no layers that can do it")
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(torch.utils.checkpoint.checkpoint, use_reentrant=False)
    return layers


class FeedForward:
    """``inner``: the blocks of all layers but the last; ``last``: that of the last layer, if it has one."""

    def __init__(self, model: Any) -> None:
        layers = decoder_layers(model)
        found = [layer.get_submodule("mlp") if position_wise(layer) else None for layer in layers]
        self.inner = [block for block in found[:-1] if block is not None]
        self.last = [block for block in found[-1:] if block is not None]

    @contextmanager
    def only_where_read(self, rollout: Rollout) -> Iterator[None]:
        """For a pass over all tokens of ``rollout`` but the last: other positions have no block's part in them.

        A token's hidden state is read by attention at later positions of its row, so the row's last token and padding
        need none; above the last layer only the positions before the tokens that were chosen are read. Without padding
        all is computed: tensors of two sizes would cost more memory by fragmentation than the work saves.
        """
        needed = rollout.attention[:, :-1] & rollout.attention[:, 1:]
        read = nn.functional.pad(rollout.mask, (needed.shape[1] - rollout.mask.shape[1], 0))
        parts = [(self.inner, needed), (self.last, read)] if int(needed.sum()) <= NEARLY_ALL * needed.numel() else []
        with ExitStack() as hooks:
            for blocks, where in parts:
                index = where.flatten().nonzero().squeeze(1)
                for block in blocks:
                    hooks.enter_context(block.register_forward_pre_hook(gathered(index, where)))
                    hooks.enter_context(block.register_forward_hook(scattered(index, where)))
            yield


def gathered(index: Tensor, where: Tensor) -> Callable[[nn.Module, tuple[Any, ...]], Tensor | None]:
    """A hook that gives a block only the positions ``index``, (B, L, D) -> (1, N, D), if it is given nothing else."""

    def pick(block: nn.Module, given: tuple[Any, ...]) -> Tensor | None:
        alone = len(given) == 1 and given[0].shape[:-1] == where.shape
        return given[0].flatten(0, 1).index_select(0, index).unsqueeze(0) if alone else None

    return pick


def scattered(index: Tensor, where: Tensor) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor | None]:
    """A hook that puts the answers to what ``gathered`` gave where they belong, 0 elsewhere. (1, N, D) -> (B, L, D)."""

    def put_back(block: nn.Module, given: tuple[Any, ...], said: Tensor) -> Tensor | None:
        if len(given) != 1 or given[0].shape[:-1] != (1, len(index)):
            return None
        every = said.new_zeros(where.numel(), said.shape[-1])
        return every.index_copy_(0, index, said.squeeze(0)).view(*where.shape, -1)

    return put_back


def decoder_layers(model: Any) -> list[nn.Module]:
    """The layers of a transformers model in order; none if they cannot be told for sure."""
    lists = [list(m) for m in model.modules() if isinstance(m, nn.ModuleList)]
    fit = [found for found in lists if len(found) == model.config.get_text_config().num_hidden_layers]
    return fit[0] if len(fit) == 1 and len(set(fit[0])) == len(fit[0]) else []


def position_wise(layer: nn.Module) -> bool:
    """True if the layer has a block, ``mlp``, whose weights are all of linear maps: no position sees another's."""
    from transformers.pytorch_utils import Conv1D

    block = dict(layer.named_children()).get("mlp")
    own = [m for m in block.modules() if list(m.parameters(recurse=False))] if block is not None else []
    return bool(own) and all(isinstance(m, nn.Linear | Conv1D) for m in own)
