"""``run.json`` (facts for programs) and ``config.yaml`` (settings) of a run directory; both plain data."""

import hashlib
import json
import platform
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rlnlp import __version__
from rlnlp.config.changes import code_in
from rlnlp.config.choices import plain_word
from rlnlp.config.data import Named, names_in, path_of
from rlnlp.config.hub import hub_content, is_hub
from rlnlp.config.migrate import CONFIG_VERSION, migrate, migrate_facts
from rlnlp.config.parse import parse
from rlnlp.config.schema import RUNS, Common
from rlnlp.config.setting import declared, leaves
from rlnlp.errors import Exit, Failure, command
from rlnlp.run.disk import replace

SECRET = re.compile(r"(^|_)(token|secret|password|passwd|api_?key|credentials?)$", re.IGNORECASE)
SECRET_OVERRIDE = re.compile(
    r"((?:^|[._{,\s])(?:\w*_)?(?:token|secret|password|passwd|api_?key|credentials?)\s*[=:]\s*)[^,}\]]+", re.IGNORECASE
)
POLICY, REWARD_MODEL = "policy", "reward_model"  # the part of a run that is its result, and its folder
REDACTED = "***"
FILES = ("config.yaml", "run.json")
STAGED = r"config\.yaml|run\.json|(summary|report)\.md|report\.html|heldout\.jsonl|[\w-]+\.png"
LEFTOVER = re.compile(rf"\.({STAGED})-[0-9a-f]{{8}}")
CHECKSUM_LINE = "# sha256 of the lines above: "
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "safetensors", "hydra-core", "omegaconf")
COMPUTE = ("torch", "transformers", "tokenizers", "numpy")


@dataclass(frozen=True)
class ResumeInfo:
    """How a run is resumed: ``allow`` names settings that may differ, ``changed`` has old and new of those that do."""

    allow: frozenset[str]
    changed: dict[str, list[Any]]


def facts(config: Common, command: str) -> dict[str, Any]:
    """The first content of ``run.json``; programs read its keys, which do not change."""
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
        "settings_sha256": settings_sha256(config),
        "steps": 0,
        "episodes": 0,
        "tokens": 0,
        "result": {},
    }


def settings_sha256(config: Common) -> str:
    """The sha256 of the settings."""
    return hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()


def resumed(info: ResumeInfo) -> dict[str, Any]:
    """The record of a resume: when, and with which changes."""
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "changed": info.changed}


def config_text(config: Common, hidden: Collection[str] = ()) -> str:
    """The settings as YAML, with secrets and ``hidden`` keys redacted; the last line is a checksum."""
    import yaml

    settings = {"config_version": CONFIG_VERSION, **redacted(asdict(config), hidden)}
    text: str = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=120)
    return f"{text}{CHECKSUM_LINE}{hashlib.sha256(text.encode()).hexdigest()}\n"


def has_run(directory: Path) -> bool:
    """True if a run has written its first file in ``directory``."""
    return any((directory / name).exists() for name in FILES)


def check_free(directory: Path, saved: bool) -> None:
    """Refuse a directory for a new run that has one; ``saved``: it has checkpoints.

    Raises:
        Failure: exit 6.
    """
    if has_run(directory) or saved:
        advice = f"continue with: {command('resume', directory)}\nor choose another directory: hydra.run.dir=..."
        raise Failure(Exit.RUN, f"{directory} holds a run already\n{advice}")


def write_config(directory: Path, config: Common, hidden: Collection[str]) -> None:
    """Write ``config.yaml`` without the values of ``hidden``, if it is not the same already."""
    text, path = config_text(config, hidden), directory / "config.yaml"
    if not path.exists() or path.read_bytes() != text.encode():
        replace(path, text)


def clear_leftovers(directory: Path) -> None:
    """Remove what interrupted writes left behind; for the run's owner only."""
    for path in directory.iterdir():
        if LEFTOVER.fullmatch(path.name):
            path.unlink()


def check_unchanged(directory: Path) -> None:
    """Refuse a config.yaml that is not as the run wrote it.

    Raises:
        Failure: exit 6.
    """
    text, _, digest = (directory / "config.yaml").read_bytes().rpartition(CHECKSUM_LINE.encode())
    if hashlib.sha256(text).hexdigest().encode() + b"\n" != digest:
        advice = "restore it, and give changes on the command line: key=value"
        raise Failure(Exit.RUN, f"{directory}/config.yaml is not as the run wrote it\n{advice}")


def read_facts(directory: Path) -> dict[str, Any]:
    """The content of ``run.json``; nothing if it cannot be read, as a resume needs none of it."""
    try:
        found = json.loads((directory / "run.json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return migrate_facts(found) if isinstance(found, dict) else {}


def changed_content(directory: Path, content: Mapping[str, str]) -> list[str]:
    """The settings whose content, by its sha256, is not what the run in ``directory`` was rewarded with."""
    before = read_facts(directory).get("code", {})
    return [key for key, sha256 in content.items() if key in before and before[key] != sha256]


def write_facts(directory: Path, facts: dict[str, Any]) -> None:
    """Write ``facts`` to ``run.json``."""
    replace(directory / "run.json", json.dumps(facts, allow_nan=False, indent=1) + "\n")


def sources(config: Common) -> dict[str, str]:
    """The content of data and tokenizer, by setting: the sha256 of a file, else the value itself."""
    settings = asdict(config)
    found = {
        key: data_id(value)
        for key, _, f in declared(type(config))
        if key.startswith("data.") and f.metadata["by_content"] and (value := settings["data"][key[5:]]) is not None
    }
    value = settings["model"]["tokenizer"] or settings["model"]["path"]
    paths = [Path(value).expanduser() / below / "tokenizer.json" for below in ("policy", "")]
    files = [path for path in paths if path.is_file()]
    return found | {"model.tokenizer": digest(files[0]) if files else value}


def read_config(directory: Path) -> Any:
    """The settings of a run directory, checked against the schema; data, never composed or executed.

    Raises:
        Failure: exit 6, if it is no run directory or its settings are not valid.
    """
    settings = read_settings(directory)
    try:
        return parse(RUNS[settings["algo"]["name"]], settings)
    except Failure as failure:
        raise Failure(Exit.RUN, f"{directory / 'config.yaml'} is not valid\n{failure}") from failure


def read_settings(directory: Path) -> dict[str, Any]:
    """The settings of a run directory as plain data of the present version, of a known algorithm, not checked.

    Raises:
        Failure: exit 6, if it is no run directory.
    """
    import yaml

    path = directory / "config.yaml"
    try:
        settings = _plain_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise Failure(
            Exit.RUN, f"{directory} is not a run directory: config.yaml cannot be read ({type(error).__name__})"
        ) from error
    settings = migrate(settings) if isinstance(settings, dict) else {}
    name = settings["algo"].get("name") if isinstance(settings.get("algo"), dict) else None
    if not isinstance(name, str) or name not in RUNS:
        raise Failure(Exit.RUN, f"{path} has an unknown algorithm (algo.name: {name!r})")
    return settings


def _plain_yaml(text: str) -> Any:
    """``text`` read by the safe loader: the one in C where there is one, which takes a seventh of the time."""
    import yaml

    if not yaml.__with_libyaml__:
        return yaml.safe_load(text)
    loader = yaml.CSafeLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def fingerprint(threads: int, device: str, processes: int = 1) -> dict[str, Any]:
    """Hardware and versions that the last bits of a result depend on."""
    import torch

    return {
        "rlnlp": __version__,
        **{name: found for name, found in _versions().items() if name in COMPUTE},
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
        "threads": threads,
        "device": device,
        **({"processes": processes} if processes > 1 else {}),
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The keys whose values differ, as ``key old -> new``."""
    keys = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
    return ", ".join(f"{key} {then.get(key)} -> {now.get(key)}" for key in keys)


def digest(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_id(value: str) -> str:
    """The sha256 of the file at the path ``value``, or of the copies of that data set of the hub; else ``value``."""
    if is_hub(value):
        return hub_content(value)
    path = path_of(value)
    return digest(path) if path.is_file() else value


def data_id(value: Named) -> str:
    """The content of what a setting of data names; of several files that of each, in their order."""
    found = [content_id(name) for name in names_in(value)]
    return found[0] if len(found) == 1 else hashlib.sha256(json.dumps(found).encode()).hexdigest()


def redacted(node: Any, hidden: Collection[str], key: str = "") -> Any:
    """Nested settings in which the values of secrets and of the keys ``hidden`` are not shown."""
    if isinstance(node, dict):
        return {k: redacted(v, hidden, f"{key}.{k}" if key else str(k)) for k, v in node.items()}
    secret = key in hidden or SECRET.search(key.rpartition(".")[2])
    return REDACTED if isinstance(node, str) and secret else node


def words_to_name(config: Any, hidden: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """(code, secrets): the words that a directory must not name or does not hold, needed again to go on from it.

    Secrets are also the keys ``hidden``.
    """
    code = [f"{key}={plain_word(value)}" for key, value in code_in(config)]
    return code, [f"{key}=..." for key, value in leaves(redacted(asdict(config), hidden)) if value == REDACTED]


def _processor() -> str:
    """The model of the processor: linear algebra libraries choose their kernels by it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n")
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def without_secrets(word: str) -> str:
    """An override with the values of secrets redacted."""
    return SECRET_OVERRIDE.sub(rf"\1{REDACTED}", word)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
