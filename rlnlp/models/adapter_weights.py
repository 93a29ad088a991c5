"""Adapters from files and for files: as a part of whole weights, as what learns on, and as what is kept."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from rlnlp.config.model import Lora
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.models.adapter_files import ADAPTER, ADAPTER_WEIGHTS, BASE_RECORD, LAYER, as_json, config_of, is_plain
from rlnlp.models.files import read_object
from rlnlp.models.lora import (
    Adapter,
    Adapters,
    Product,
    let_use,
    linear_layers,
    merge,
    new_adapter,
    target_names,
    targeted,
    transposed,
)
from rlnlp.models.policy import Policy
from rlnlp.run.parts import weights_sha256


def with_adapter(model: Any, directory: str) -> Any:
    """``model``, the base of the adapter in ``directory``, with that added into its weights.

    Raises:
        Failure: exit 4, if it is of another base.
    """
    if is_plain(Path(directory)):
        check_base(model, Path(directory))
        adapter = load_adapter(model, Path(directory))
        let_use(model, Adapters())
        merge(model, adapter)
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, directory).merge_and_unload().requires_grad_(True)


def check_base(model: Any, directory: Path) -> None:
    """Refuse a base whose weights are not those that the adapter in ``directory`` was trained on, where that is known.

    Raises:
        Failure: exit 4.
    """
    record = read_object(directory / BASE_RECORD)
    if record.get("class") == type(model).__name__ and record.get("sha256") != content_of(model):
        base = one_line(str(read_object(directory / ADAPTER).get("base_model_name_or_path")))
        raise Failure(
            Exit.MODEL,
            f"'{one_line(str(directory))}' is an adapter of other weights than '{base}' has now\n"
            f"put the base back, or name it in base_model_name_or_path of {ADAPTER}",
        )


def content_of(model: Any) -> str:
    """The sha256 of the weights of a model."""
    return weights_sha256({"base": model})


def load_adapter(model: Any, directory: Path) -> Adapter:
    """The adapter in ``directory``, one that ``is_plain``, for its base ``model``; in float32.

    Raises:
        Failure: exit 4, if it does not fit the model.
    """
    stored, tensors = read_object(directory / ADAPTER), load_file(directory / ADAPTER_WEIGHTS)
    layers, what = linear_layers(model), f"'{one_line(str(directory))}'"
    products = {}
    for name in sorted({LAYER.sub(r"\g<layer>", tensor) for tensor in tensors}):
        a, b = (tensors.get(f"base_model.model.{name}.lora_{letter}.weight") for letter in "AB")
        layer: Any = layers.get(name)
        if layer is None or a is None or b is None or not _fits(layer, a, b, stored["r"]):
            raise Failure(
                Exit.MODEL, f"{what} does not fit its base: layer '{one_line(name, 80)}' is missing or of another size"
                f"\nname its own base in base_model_name_or_path of {ADAPTER}",
            )  # fmt: skip
        device = layer.weight.device
        products[name] = Product(a.float().to(device), b.float().to(device), stored["lora_alpha"] / stored["r"])
    return Adapter(products, stored["r"], float(stored["lora_alpha"]))


def _fits(layer: Any, a: Tensor, b: Tensor, rank: int) -> bool:
    shape = layer.weight.shape[::-1] if transposed(layer) else layer.weight.shape
    return tuple(a.shape) == (rank, shape[1]) and tuple(b.shape) == (shape[0], rank)


def learn_adapter(policy: Policy, lora: Lora, weights: str, base: str | None, rng: np.random.Generator) -> None:
    """Let an adapter of ``policy`` learn: a new one of the model at ``weights``; or that at ``weights``, of ``base``.

    Raises:
        Failure: exit 2, for layers that are not there; exit 4, for a start that is not as ``lora`` says.
    """
    assert lora.rank is not None, "called where an adapter is asked for"
    layers = targeted(policy.lm, lora.targets)
    if base is None:
        adapter = new_adapter(layers, lora.rank, lora.alpha, rng)
    else:
        adapter = started(policy, lora, layers, Path(weights))
    adapters = Adapters()
    let_use(policy.lm, adapters)
    policy.learn(adapter, adapters)
    place = base or weights
    place = os.path.abspath(place) if Path(place).is_dir() else place
    names = target_names(policy.lm, layers)
    config = config_of(place, lora.rank, lora.alpha, names, any(map(transposed, layers.values())))
    record = {"base": place, "class": type(policy.lm).__name__, "sha256": content_of(policy.lm)}
    policy.adapter_files = {ADAPTER: as_json(config), BASE_RECORD: as_json(record)}


def started(policy: Policy, lora: Lora, layers: Mapping[str, Any], start: Path) -> Adapter:
    """The adapter in ``start``, to learn on.

    Raises:
        Failure: exit 4, if it is of another kind, rank, scale or other layers than ``lora`` says.
    """
    what = f"model.path '{one_line(str(start))}' is an adapter"
    if not is_plain(start):
        raise Failure(
            Exit.MODEL, f"{what} of a kind that cannot learn on here\nmodel.lora.rank=null adds it into its base"
        )
    check_base(policy.lm, start)
    adapter = load_adapter(policy.lm, start)
    own = f"model.lora.rank={adapter.rank} model.lora.alpha={adapter.alpha:g}"
    if (adapter.rank, adapter.alpha) != (lora.rank, lora.alpha):
        asked = f"model.lora.rank={lora.rank} model.lora.alpha={lora.alpha:g}"
        raise Failure(
            Exit.MODEL, f"{what} of {own}, and {asked} is asked for\n"
            f"to learn on with it: {own}; to add it into its base and learn all weights: model.lora.rank=null",
        )  # fmt: skip
    if adapter.products.keys() != layers.keys():
        names = ",".join(target_names(policy.lm, adapter.products))
        raise Failure(
            Exit.MODEL, f"{what} of other layers than model.lora.target_modules says\n"
            f"to learn on with it: 'model.lora.target_modules=[{one_line(names, 200)}]'",
        )  # fmt: skip
    return adapter


def saved_weights(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of ``adapter`` as they are saved, by peft's names."""
    return {name: tensor.detach().to(dtype).cpu().contiguous() for name, tensor in adapter.state_dict().items()}
