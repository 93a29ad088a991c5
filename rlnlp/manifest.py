"""What a run directory says of its run: facts for programs, settings for people, both plain data."""

import hashlib
import json
import os
import platform
import re
import secrets
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rlnlp import __version__
from rlnlp.config import RUNS, Common
from rlnlp.errors import Exit, Failure
from rlnlp.parse import parse

SECRET = re.compile(r"(^|_)(token|secret|password|passwd|api_?key|credentials?)$", re.IGNORECASE)
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "safetensors", "hydra-core", "omegaconf")


def facts(config: Common, command: str) -> dict[str, Any]:
    """The first content of ``run.json``; its keys are read by programs and stay."""
    settings = asdict(config)
    return {
        "id": secrets.token_hex(8),
        "command": command,
        "algo": settings["algo"]["name"],
        "status": "running",
        "exit_code": None,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": None,
        "training_seconds": None,
        "versions": {"rlnlp": __version__, "python": platform.python_version(), **_versions()},
        "fingerprint": {},
        "settings_sha256": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        "steps": 0,
        "episodes": 0,
        "tokens": 0,
        "result": {},
    }


def saved(config: Common) -> str:
    """The settings as YAML, resolved, with secrets blotted out."""
    import yaml

    text: str = yaml.safe_dump(_redacted(asdict(config)), sort_keys=False, allow_unicode=True, width=120)
    return text


def read_config(directory: Path) -> Any:
    """The settings of a run directory, checked against the schema; data, never composed or executed.

    Raises:
        Failure: exit 6, if it is no run directory or its settings are not sound.
    """
    import yaml

    path = directory / "config.yaml"
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise Failure(
            Exit.RUN, f"{directory} is not a run directory: config.yaml cannot be read ({type(error).__name__})"
        ) from error
    name = (
        settings.get("algo", {}).get("name")
        if isinstance(settings, dict) and isinstance(settings.get("algo"), dict)
        else None
    )
    if name not in RUNS:
        raise Failure(Exit.RUN, f"{path} names no algorithm that this version knows (algo.name: {name!r})")
    try:
        return parse(RUNS[name], settings)
    except Failure as failure:
        raise Failure(Exit.RUN, f"{path} is not sound\n{failure}") from failure


def fingerprint(threads: int, device: str) -> dict[str, Any]:
    """What the last bits of a result depend on."""
    import torch

    return {
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "device": device,
    }


def digest(path: Path) -> dict[str, Any]:
    """Size and sha256 of a file."""
    with path.open("rb") as file:
        return {"size": os.fstat(file.fileno()).st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _redacted(node: Any, key: str = "") -> Any:
    if isinstance(node, dict):
        return {k: _redacted(v, str(k)) for k, v in node.items()}
    return "***" if isinstance(node, str) and SECRET.search(key) else node


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
