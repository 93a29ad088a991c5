"""Where a model lies, found without importing torch, so that a wrong name is told at once."""

import os
from pathlib import Path

from rlnlp.config import Model
from rlnlp.errors import Exit, Failure, one_line

EMBEDDED = Path(__file__).resolve().parent.parent / "assets" / "tiny"


def locate(model: Model) -> tuple[str | None, str]:
    """The places of weights (None: a fresh model) and of the tokenizer: directories, or hub ids.

    Raises:
        Failure: exit 4, if a place does not exist and may not be fetched.
    """
    weights = None if model.path is None else _place("model.path", model.path, model.allow_download)
    if model.tokenizer is not None:
        return weights, _place("model.tokenizer", model.tokenizer, model.allow_download)
    assert weights is not None, "the config refuses a fresh model without a tokenizer"
    return weights, weights


def _place(key: str, name: str, allow_download: bool) -> str:
    if name == "embedded":
        return str(EMBEDDED)
    path = Path(name).expanduser()
    if (path / "policy" / "config.json").is_file():  # a run directory: its result
        return str(path / "policy")
    if path.is_dir() and not (path / "config.json").is_file():
        unfinished = "is a run that has no policy/ yet" if (path / "run.json").is_file() else "has no config.json"
        raise Failure(Exit.MODEL, f"{key} '{one_line(name)}' {unfinished}: no model lies there")
    if path.is_dir():
        return str(path)
    if path.exists():
        raise Failure(Exit.MODEL, f"{key} '{one_line(name)}' is a file, not a model directory")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or os.sep in name.replace("/", "", 1):
        raise Failure(Exit.MODEL, f"{key} '{one_line(name)}' not found (no such directory)")
    if not allow_download and not _cached(name):
        raise Failure(
            Exit.MODEL,
            f"{key} '{one_line(name)}' is neither a directory here nor in the local cache of the hub\n"
            "give a directory, or set model.allow_download=true to fetch it",
        )
    return name


def _cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        return False
