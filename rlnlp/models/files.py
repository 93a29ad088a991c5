"""What is wrong with the files of a model or tokenizer, read without torch."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlnlp.errors import Exit, Failure, one_line, shell_word

POINTER = b"version https://git-lfs"
REWARD_RECORD = "rlnlp_reward_model.json"  # beside the files of a reward model of rlnlp
OF_CLASS = "class"  # what it calls the head of an encoder, which is its class's own
SCORE_BIAS = "rlnlp_score_bias"  # in the config.json of such a one: what its logit lacks of the score
INDEX = "model.safetensors.index.json"
LONGEST_HEADER = 100 * 2**20  # bytes, as safetensors allows
AGAIN = "download it again"


def check_model_files(what: str, directory: Path) -> None:
    """Check the config and the weights in a directory.

    Raises:
        Failure: exit 4 with the file's name and what to do.
    """
    fault = next(_config_faults(directory), None) or next(_weight_faults(directory), None)
    if fault is not None:
        raise Failure(Exit.MODEL, f"{what}: {fault}")


def check_tokenizer_files(what: str, directory: Path) -> None:
    """Check the tokenizer's files in a directory.

    Raises:
        Failure: exit 4 with the file's name and what to do.
    """
    for path in (directory / "tokenizer_config.json", directory / "tokenizer.json"):
        fault = json_fault(path) if path.is_file() else None
        if fault is not None:
            raise Failure(Exit.MODEL, f"{what}: {fault}")


def json_fault(path: Path) -> str | None:
    """What is wrong with a JSON file, as far as its two ends tell; None if nothing is."""
    with path.open("rb") as file:
        head = file.read(len(POINTER))
        file.seek(max(0, path.stat().st_size - 16))
        tail = file.read()
    if head.startswith(POINTER):
        return _pointer(path)
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") or not tail.rstrip().endswith(b"}"):
        return f"{path.name} is not a whole JSON object\n{AGAIN}"
    return None


def safetensors_fault(path: Path) -> str | None:
    """What is wrong with a file of weights by its header and its size; None if nothing is."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(len(POINTER))
        if head.startswith(POINTER):
            return _pointer(path)
        file.seek(8)
        length = struct.unpack("<Q", head[:8])[0] if len(head) >= 8 else 0
        header = file.read(length) if length <= min(size, LONGEST_HEADER) else b""
    try:
        stored = json.loads(header)
        ends = [entry["data_offsets"][1] for name, entry in stored.items() if name != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return f"{path.name} is no safetensors file ({size:,} bytes)\n{AGAIN}"
    if size != expected:
        return f"{path.name} has {size:,} bytes, its header says {expected:,}\n{AGAIN}"
    return None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one if there is none."""
    try:
        stored = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _config_faults(directory: Path) -> Iterator[str]:
    path = directory / "config.json"
    if (fault := json_fault(path)) is not None:
        yield fault
    elif not read_object(path):
        yield f"config.json is no JSON object\n{AGAIN}"


def _weight_faults(directory: Path) -> Iterator[str]:
    single, index = directory / "model.safetensors", directory / INDEX
    if index.is_file() and not single.is_file():
        if (fault := json_fault(index)) is not None:
            yield fault
        names = read_object(index).get("weight_map")
        shards = sorted(set(map(str, names.values()))) if isinstance(names, dict) else []
        if not shards:
            yield f"{INDEX} lists no weights\n{AGAIN}"
    else:
        shards = [single.name]
    if shards == [single.name] and not single.is_file():
        yield from _without_safetensors(directory)
        return
    for name in shards:
        if not (directory / name).is_file():
            yield f"{one_line(name, 80)} is missing, which {INDEX} lists\ndownload it"
        elif (fault := safetensors_fault(directory / name)) is not None:
            yield fault


def _without_safetensors(directory: Path) -> Iterator[str]:
    pickled = sorted(path.name for end in ("bin", "pt", "pth") for path in directory.glob(f"*.{end}"))
    named = [name for name in pickled if name.startswith("pytorch_model")]
    if named:
        code = (
            "import sys, transformers as t; d = sys.argv[1]; "
            "t.AutoModelForCausalLM.from_pretrained(d, use_safetensors=False).save_pretrained(d)"
        )
        yield (
            f"the weights are in {named[0]}, which can hold code; if you trust it, convert it once:\n"
            f"python -c {shell_word(code)} {shell_word(directory)}"
        )
    elif not any(directory.glob("*.safetensors")):
        yield f"there is no model.safetensors{f', only {pickled[0]}' if pickled else ''}\ndownload the weights"


def _pointer(path: Path) -> str:
    return f"{path.name} is a git-lfs pointer, not the file itself\nfetch it in its repository: git lfs pull"
