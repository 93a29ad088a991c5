"""Models as folders that transformers loads."""

import copy
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save_file

from rlnlp.config.model import Model
from rlnlp.device import DTYPES
from rlnlp.models.adapter_files import ADAPTER_WEIGHTS
from rlnlp.models.adapter_weights import saved_weights
from rlnlp.models.files import read_object
from rlnlp.models.lora import merged_weights
from rlnlp.models.policy import Policy
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.processes.rows import is_first
from rlnlp.processes.sharding import full, is_sharded
from rlnlp.run.checkpoint import STAGED
from rlnlp.run.disk import apply_umask_and_fsync, replace_directory, storage_failure, sync

GENERATION = "generation_config.json"
T = TypeVar("T")


def pretrained_files(policy: Policy, tokenizer: Tokenizer) -> Callable[[], Mapping[str, bytes]]:
    """What ``Policy.files`` is: made when it is first asked for, as training changes none of it."""
    lm, raw = policy.lm, tokenizer.raw

    @cache
    def files() -> Mapping[str, bytes]:
        with tempfile.TemporaryDirectory() as directory:
            if policy.adapter is None:
                config = copy.deepcopy(lm.config)
                config.dtype, config.architectures = str(lm.dtype).rpartition(".")[2], [type(lm).__name__]  # as saved
                config.save_pretrained(directory)
                if lm.can_generate():
                    lm.generation_config.save_pretrained(directory)
            raw.save_pretrained(directory)
            keep_ends(Path(directory), tokenizer)
            made = {path.name: path.read_bytes() for path in sorted(Path(directory).iterdir()) if path.is_file()}
            return {**made, **policy.adapter_files}

    return files


def weights_in(policy: Policy, dtype: torch.dtype) -> dict[str, torch.Tensor] | None:
    """The state of the model in ``dtype``, what is one tensor there being one here; None for the state as it is.

    An adapter is added in.
    """
    if policy.adapter is not None:
        return merged_weights(policy.lm, policy.adapter)  # float32: the settings refuse another one
    if dtype == torch.float32 and not is_sharded(policy.lm):
        return None
    made: dict[int, torch.Tensor] = {}
    state = policy.lm.state_dict(keep_vars=True)
    for tensor in state.values():
        if id(tensor) not in made:
            whole = full(tensor.detach())
            made[id(tensor)] = whole.to(dtype) if tensor.is_floating_point() else whole
    return {name: made[id(tensor)] for name, tensor in state.items()}


def keep_ends(directory: Path, tokenizer: Tokenizer) -> None:
    """Let the saved generation config name all tokens that end a response: transformers' ``generate`` stops there."""
    path = directory / GENERATION
    stored = read_object(path)
    ends = stored.get("eos_token_id")
    if stored and set(ends if isinstance(ends, list) else [ends]) != set(tokenizer.end):
        path.write_text(json.dumps({**stored, "eos_token_id": list(tokenizer.end)}, indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def round_weights(policy: Policy, model: Model) -> None:
    """Round the weights to those that ``save_policy`` saves: what is measured then is what is saved."""
    dtype = DTYPES[model.save_dtype]
    if dtype != torch.float32:
        for weight in policy.body.parameters():
            weight.copy_(weight.to(dtype))


def save_policy(directory: Path, policy: Policy, tokenizer: Tokenizer, model: Model) -> None:
    """Save the policy as ``model`` says, and its tokenizer, as a directory that transformers loads, atomically.

    Of one whose adapter learns, that is the adapter as peft loads it, or with ``model.lora.merge`` whole weights. Of
    several processes the first one saves.

    Raises:
        Failure: exit 5, if the disk fails.
    """
    weights = weights_in(policy, DTYPES[model.save_dtype]) if is_sharded(policy.lm) else None
    if not is_first():
        return

    def write(staged: Path) -> None:
        if policy.adapter is not None and not model.lora.merge:
            save_file(
                saved_weights(policy.adapter, DTYPES[model.save_dtype]), staged / ADAPTER_WEIGHTS, {"format": "pt"}
            )
            for name, content in policy.files().items():
                (staged / name).write_bytes(content)
            return
        state = weights or weights_in(policy, DTYPES[model.save_dtype])
        policy.lm.save_pretrained(staged, state_dict=state)
        tokenizer.raw.save_pretrained(staged)
        keep_ends(staged, tokenizer)
        if model.save_dtype != "float32":
            stored = read_object(staged / "config.json") | {"dtype": model.save_dtype}
            (staged / "config.json").write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")

    save_directory(directory, "the policy", write)


def save_directory(directory: Path, what: str, write: Callable[[Path], T]) -> T:
    """Make ``directory`` of what ``write`` puts into another one, atomically; what ``write`` returns.

    Raises:
        Failure: exit 5, if the disk fails; ``what`` is what is saved.
    """
    staged, aside = (directory.with_name(f"{STAGED}{word}{directory.name}") for word in ("", "old-"))
    try:
        for left in (staged, aside):
            shutil.rmtree(left, ignore_errors=True)
        staged.mkdir(parents=True)
        written = write(staged)
        for path in sorted(staged.rglob("*")):
            if path.is_file():
                apply_umask_and_fsync(path)
            else:
                sync(path)
        sync(staged)
        replace_directory(staged, directory, aside)
    except Exception as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise storage_failure(f"saving {what}", directory.parent, error) from error
    return written
