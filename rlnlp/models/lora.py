"""Adapters of low rank: what learns is a product of two thin matrices beside each weight, which stays as it is.

Hu et al. 2021 (arXiv:2106.09685), equation 3: a layer gives W x + alpha / rank B A x. At the start B is 0. The layers
keep their class, their names and their weights; only their ``forward`` is another one, which adds the product of the
adapter that is in use. Without one the model is what it was: a reference costs no second copy of it, and several
adapters share a base.

The layers are our own, not peft's: no import of seconds, numbers from a named stream, and several models on one base
without switching what learns. What is saved is peft's, and gives the same in peft.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rlnlp.config.parse import nearest
from rlnlp.errors import Exit, Failure, one_line

SHOWN = 12  # names of layers, in a message


class Factor(nn.Module):
    """One of the two matrices, as ``weight``: so peft calls it."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)


class Product(nn.Module):
    """``scale`` B A x, added to what a layer gives; A is (rank, inputs), B is (outputs, rank)."""

    def __init__(self, a: Tensor, b: Tensor, scale: float) -> None:
        super().__init__()
        self.lora_A, self.lora_B, self.scale = Factor(a), Factor(b), scale

    def delta(self) -> Tensor:
        """What is added to the layer's weight, (outputs, inputs)."""
        return self.scale * (self.lora_B.weight.detach() @ self.lora_A.weight.detach())


class LinearWithProduct(torch.autograd.Function):
    """x W^T + bias + scale (x A^T) B^T of rows x, (N, inputs) -> (N, outputs); W and bias get no gradient.

    By itself autograd would copy what the layer gives, and its gradient, to add the product: of a layer with 576
    inputs and 1,536 outputs, forward and backward over 376 rows, it takes a tenth longer.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        """What the layer gives."""
        narrow = rows @ a.t()
        out = functional.linear(rows, weight, bias).addmm_(narrow, b.t(), alpha=scale)
        ctx.save_for_backward(rows, weight, a, b, narrow)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        """The gradients of rows, A and B."""
        rows, weight, a, b, narrow = ctx.saved_tensors
        of_narrow = (grad @ b).mul_(ctx.scale)
        of_rows = (grad @ weight).addmm_(of_narrow, a) if ctx.needs_input_grad[0] else None
        return of_rows, None, None, of_narrow.t() @ rows, (grad.t() @ narrow).mul_(ctx.scale), None


with_product: Any = LinearWithProduct.apply


class Adapter(nn.Module):
    """A product for each of some layers of a model, scaled by ``alpha`` / ``rank``; ``state_dict`` has peft's names."""

    def __init__(self, products: Mapping[str, Product], rank: int, alpha: float) -> None:
        super().__init__()
        self.rank, self.alpha = rank, alpha
        self.products = dict(products)
        for name, product in products.items():
            node: nn.Module = self
            above, _, last = f"base_model.model.{name}".rpartition(".")
            for part in above.split("."):
                if part not in dict(node.named_children()):
                    node.add_module(part, nn.Module())
                node = node.get_submodule(part)
            node.add_module(last, product)

    @property
    def adds_nothing(self) -> bool:
        """True if every product is 0, as at the start."""
        return not any(bool(product.lora_B.weight.any()) for product in self.products.values())


class Adapters:
    """Which adapter the layers of a model add at the moment: ``current``, None for the model as it is."""

    def __init__(self) -> None:
        self.current: Adapter | None = None

    @contextmanager
    def using(self, adapter: Adapter | None) -> Iterator[None]:
        """A context in which the layers add ``adapter``."""
        before, self.current = self.current, adapter
        try:
            yield
        finally:
            self.current = before

    def again(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Contexts of a layer's pass and of its repetition while gradients are computed: with the same adapter."""
        return nullcontext(), self.using(self.current)


class WithProduct:
    """A linear layer's ``forward`` that adds the product of the adapter in use, if that has one for it.

    The weight does not learn: where products are computed in another precision it is cast once, not in each pass.
    """

    def __init__(self, layer: Any, name: str, adapters: Adapters) -> None:
        self.layer, self.plain, self.name, self.adapters = layer, layer.forward, name, adapters
        self.cast: Tensor | None = None

    def __call__(self, hidden: Tensor) -> Tensor:
        """What the layer gives."""
        kind, adapter, bias = hidden.device.type, self.adapters.current, self.layer.bias
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.layer.weight.dtype
        product = None if adapter is None else adapter.products.get(self.name)
        if product is None:
            same = dtype == self.layer.weight.dtype
            return self.plain(hidden) if same else functional.linear(hidden, self.weight_in(dtype), bias)
        with torch.autocast(kind, enabled=False):
            out: Tensor = with_product(
                hidden.reshape(-1, hidden.shape[-1]).to(dtype), self.weight_in(dtype),
                None if bias is None else bias.detach().to(dtype),
                product.lora_A.weight.to(dtype), product.lora_B.weight.to(dtype), product.scale,
            )  # fmt: skip
        return out.view(*hidden.shape[:-1], -1)

    def weight_in(self, dtype: torch.dtype) -> Tensor:
        """The layer's weight, (outputs, inputs), in ``dtype``."""
        own = self.layer.weight.detach()
        weight: Tensor = own.t() if transposed(self.layer) else own
        if dtype == weight.dtype:
            return weight
        if self.cast is None or self.cast.dtype != dtype:
            self.cast = weight.to(dtype)
        return self.cast


def product_in_use(layer: Any) -> Product | None:
    """What the adapter in use adds to a linear layer; None without one."""
    change = layer.forward
    if not isinstance(change, WithProduct) or change.adapters.current is None:
        return None
    return change.adapters.current.products.get(change.name)


def linear_layers(lm: Any) -> dict[str, nn.Module]:
    """The linear layers of a model of transformers by their names, without the head."""
    from transformers.pytorch_utils import Conv1D

    head = lm.get_output_embeddings()
    return {
        name: module
        for name, module in lm.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }


def transposed(layer: Any) -> bool:
    """True for a layer whose weight is (inputs, outputs), as GPT-2 has them."""
    return not isinstance(layer, nn.Linear)


def targeted(lm: Any, targets: tuple[str, ...] | None) -> dict[str, nn.Module]:
    """The layers that have an adapter: those that ``targets`` name, by the end of their names as peft does, or all.

    Raises:
        Failure: exit 2, for a name that no linear layer has.
    """
    layers = linear_layers(lm)
    if targets is None:
        return layers
    for target in targets:
        if not any(_named(name, target) for name in layers):
            known = sorted({name.rpartition(".")[2] for name in layers})
            raise Failure(
                Exit.CONFIG,
                f"model.lora.target_modules: no linear layer is called '{one_line(target, 60)}'{nearest(target, known)}"
                f"\nthis model has: {', '.join(known[:SHOWN])}",
            )
    return {name: layer for name, layer in layers.items() if any(_named(name, target) for target in targets)}


def target_names(lm: Any, layers: Mapping[str, nn.Module]) -> list[str]:
    """What peft finds ``layers``, and no others, by: the ends of their names, or else the whole names."""
    ends = sorted({name.rpartition(".")[2] for name in layers})
    meant = {name for name, _ in lm.named_modules() if name.rpartition(".")[2] in ends}
    return ends if meant == set(layers) else sorted(layers)


def new_adapter(layers: Mapping[str, Any], rank: int, alpha: float, rng: np.random.Generator) -> Adapter:
    """An adapter that adds nothing yet: A uniform within 1 / sqrt(inputs), as peft starts it, B 0."""
    products = {}
    for name, layer in layers.items():
        inputs, outputs = layer.weight.shape if transposed(layer) else layer.weight.shape[::-1]
        bound = 1 / math.sqrt(inputs)
        drawn = torch.from_numpy(rng.uniform(-bound, bound, (rank, inputs)).astype(np.float32))
        a, b = drawn.to(layer.weight.device), torch.zeros(outputs, rank, device=layer.weight.device)
        products[name] = Product(a, b, alpha / rank)
    return Adapter(products, rank, alpha)


def let_use(lm: Any, adapters: Adapters) -> None:
    """Let the linear layers of ``lm``, and its head, add the adapter that ``adapters`` say is in use."""
    head = lm.get_output_embeddings()
    layers: dict[str, Any] = linear_layers(lm) | ({"the head": head} if isinstance(head, nn.Linear) else {})
    for name, layer in layers.items():
        layer.forward = WithProduct(layer, name, adapters)


@torch.no_grad()
def merge(model: Any, adapter: Adapter) -> None:
    """Add ``adapter`` into the weights of those layers of ``model`` that may use one; they no longer do then."""
    for layer in model.modules():
        if isinstance(layer.forward, WithProduct):
            product = adapter.products.get(layer.forward.name)
            if product is not None:
                layer.weight.add_(_as_weight(layer, product))
            del layer.forward


@torch.no_grad()
def merged_weights(lm: Any, adapter: Adapter) -> dict[str, Tensor]:
    """The state of ``lm`` with ``adapter`` added in; ``lm`` stays as it is."""
    state: dict[str, Tensor] = dict(lm.state_dict())
    for name, product in adapter.products.items():
        state[f"{name}.weight"] = state[f"{name}.weight"] + _as_weight(lm.get_submodule(name), product)
    return state


def _as_weight(layer: nn.Module, product: Product) -> Tensor:
    return product.delta().t() if transposed(layer) else product.delta()


def _named(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")
