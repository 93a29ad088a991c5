"""Adapters as folders, as peft writes them: what is in them, read without torch and without peft."""

import json
import re
import struct
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlnlp.errors import Exit, Failure, one_line
from rlnlp.models.files import json_fault, read_object, safetensors_fault

ADAPTER = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
BASE_RECORD = "rlnlp_adapter.json"  # beside them, of an adapter of rlnlp: which base it was trained on, by content
LAYER = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_[AB]\.weight")  # as peft names the tensors
ANY_VALUE = {  # settings of peft's LoraConfig that change nothing of what an adapter computes once it is trained
    "auto_mapping", "base_model_name_or_path", "exclude_modules", "fan_in_fan_out", "inference_mode",
    "init_lora_weights", "layers_pattern", "lora_dropout", "megatron_core", "peft_version", "qalora_group_size",
    "target_modules", "task_type",
}  # fmt: skip
READ = {"peft_type", "r", "lora_alpha", "bias"}


def adapter_base(directory: Path) -> str | None:
    """The base model that an adapter names; None if the directory holds a whole model.

    Raises:
        Failure: exit 4, for an adapter that cannot be loaded here or that names no base.
    """
    if not is_adapter(directory):
        return None
    what = f"'{one_line(str(directory))}'"
    fault = json_fault(directory / ADAPTER) or next(_weight_faults(directory), None)
    if fault is not None:
        raise Failure(Exit.MODEL, f"{what}: {fault}")
    base = read_object(directory / ADAPTER).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise Failure(Exit.MODEL, f"{what}: {ADAPTER} names no base_model_name_or_path\nadd it: a directory or hub id")
    if not is_plain(directory) and not has_peft():
        raise Failure(
            Exit.MODEL,
            f"{what} is an adapter of '{one_line(base)}' of a kind that only peft loads\npip install 'rlnlp[lora]'",
        )
    return base


def has_peft() -> bool:
    """True if peft is installed."""
    found = find_spec("peft")
    return found is not None and found.origin is not None  # a folder of that name is no package


def is_adapter(directory: Path) -> bool:
    """True if the directory holds an adapter and no whole model."""
    return (directory / ADAPTER).is_file() and not (directory / "config.json").is_file()


def is_plain(directory: Path) -> bool:
    """True if the adapter in a directory is W + alpha / rank B A for some linear layers, and nothing else."""
    stored = read_object(directory / ADAPTER)
    scaled = [stored.get(name) for name in ("r", "lora_alpha")]
    others = [value for key, value in stored.items() if key not in ANY_VALUE | READ]
    return (
        stored.get("peft_type") == "LORA"
        and all(isinstance(number, int | float) and number > 0 for number in scaled)
        and type(scaled[0]) is int
        and stored.get("bias", "none") == "none"
        and stored.get("init_lora_weights", True) in (True, False, "gaussian")  # others change the base too
        and not any(others)
        and all(LAYER.fullmatch(name) for name in _tensor_names(directory / ADAPTER_WEIGHTS))
    )


def config_of(base: str, rank: int, alpha: float, targets: list[str], transposed: bool) -> dict[str, Any]:
    """What ``adapter_config.json`` says of an adapter of a causal language model; ``transposed`` as in ``Conv1D``."""
    return {
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": transposed,
        "inference_mode": True,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": targets,
        "task_type": "CAUSAL_LM",
    }


def as_json(stored: Mapping[str, Any]) -> bytes:
    """The content of a JSON file."""
    return (json.dumps(stored, indent=2) + "\n").encode()


def _weight_faults(directory: Path) -> Iterator[str]:
    weights = directory / ADAPTER_WEIGHTS
    if weights.is_file():
        if (fault := safetensors_fault(weights)) is not None:
            yield fault
    elif (directory / "adapter_model.bin").is_file():
        yield (
            "the weights are in adapter_model.bin, which can hold code\n"
            "if you trust it: load it with peft, then save_pretrained(..., safe_serialization=True)"
        )
    else:
        yield f"{ADAPTER_WEIGHTS} is missing\ndownload it"


def _tensor_names(path: Path) -> list[str]:
    """The names of the tensors in a file that ``safetensors_fault`` finds sound."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return [name for name in json.loads(file.read(length)) if name != "__metadata__"]
