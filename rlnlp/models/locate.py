"""Find a model without importing torch, so that a wrong name is reported at once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlnlp.config.choices import is_run
from rlnlp.config.data import path_of
from rlnlp.config.model import Model
from rlnlp.config.parse import nearest
from rlnlp.errors import Exit, Failure, command, one_line
from rlnlp.models.adapter_files import ADAPTER, adapter_base, is_adapter
from rlnlp.models.files import OF_CLASS, REWARD_RECORD, check_model_files, check_tokenizer_files, read_object
from rlnlp.run.manifest import REWARD_MODEL, read_settings

CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "context_length", "n_ctx")
TRAINED = "one is trained with: rlnlp reward-model data.preferences=FILE"
CAUSAL = ("ForCausalLM", "LMHeadModel")  # how transformers' classes of language models are called
UNBOUNDED = 2**30  # tokens; of models whose positions have no table
TEXT_PARTS = ("text_config", "decoder", "llm_config", "generator")  # of the config of a model of several kinds of input
ASSETS = Path(__file__).resolve().parent.parent / "assets"


def locate(model: Model) -> tuple[str | None, str]:
    """Where to load the weights from (None: a fresh model) and the tokenizer: directories, or hub ids.

    Raises:
        Failure: exit 4, if one does not exist and may not be fetched.
    """
    return locate_weights(model), locate_tokenizer(model)


def locate_weights(model: Model) -> str | None:
    """Where to load the weights from: a directory or hub id; None for a fresh model.

    Raises:
        Failure: exit 4, if it does not exist and may not be fetched.
    """
    return None if model.path is None else resolve("model.path", model.path, "config.json", model.allow_download)


def locate_tokenizer(model: Model) -> str:
    """Where to load the tokenizer from: a directory or hub id.

    Raises:
        Failure: exit 4, if it does not exist and may not be fetched.
    """
    if model.tokenizer is not None:
        return resolve("model.tokenizer", model.tokenizer, "tokenizer_config.json", model.allow_download)
    weights = locate_weights(model)
    assert weights is not None, "the config refuses a fresh model without a tokenizer"
    if not (Path(weights) / "tokenizer_config.json").is_file():
        weights = base_of(weights, model.allow_download) or weights
    if Path(weights).is_dir():
        check_tokenizer_files(f"the tokenizer of '{one_line(weights)}'", Path(weights))
    return weights


def base_of(weights: str, allow_download: bool) -> str | None:
    """Where the base model of the located adapter is; None if ``weights`` is a whole model.

    Raises:
        Failure: exit 4, if it does not exist and may not be fetched, or if adapters cannot be loaded here.
    """
    named, what = adapter_base(Path(weights)), f"{weights}/{ADAPTER}: base_model_name_or_path"
    return None if named is None else resolve(what, named, "config.json", allow_download, "model.allow_download")


def locate_critic(path: str | None, allow_download: bool, key: str = "algo.critic_path") -> str | None:
    """Where to load a critic from: a directory or hub id; None if it starts as a copy of the policy.

    Raises:
        Failure: exit 4, if it does not exist and may not be fetched, or no critic can start from it.
    """
    if path is None:
        return None
    found = locate_reward_model(key, path, allow_download, "model.allow_download")
    record = read_object(Path(found) / REWARD_RECORD)
    if record and (record.get("head") != "linear" or not (Path(found) / "config.json").is_file()):
        several = record.get("members") != 1
        kind = "is an ensemble whose members are no single head" if several else f"has the head {record.get('head')}"
        kind = "is an encoder, which reads in both directions" if record.get("head") == OF_CLASS else kind
        raise Failure(
            Exit.MODEL,
            f"{key} '{one_line(path)}': this reward model {kind}\n"
            "a critic starts from one linear head: train one with algo.head=linear algo.ensemble_size=1",
        )
    return found


def locate_reward_model(key: str, name: str, allow_download: bool, allow: str = "") -> str:
    """The directory or hub id of the reward model that ``key`` means by ``name``: of a run, what it holds as one.

    ``allow`` is as in ``resolve``.

    Raises:
        Failure: exit 4, if it does not exist, holds a policy alone, or may not be fetched.
    """
    path = path_of(name)
    if lacking := without_reward_model(path):
        raise Failure(Exit.MODEL, f"{key}: {lacking}")
    if (saved := saved_reward_model(name)) is not None:
        return str(saved)
    if (path / REWARD_MODEL).is_dir():
        raise Failure(Exit.MODEL, f"{key} '{one_line(name)}': its {REWARD_MODEL}/ has no {REWARD_RECORD}\n{TRAINED}")
    found = resolve(key, name, "config.json", allow_download, allow)
    kinds = read_object(Path(found) / "config.json").get("architectures")
    named = [str(kind) for kind in kinds] if isinstance(kinds, list) else []
    if named and all(kind.endswith(CAUSAL) for kind in named):
        raise Failure(
            Exit.MODEL,
            f"{key} '{one_line(name)}' is no reward model but a language model ({one_line(named[0], 60)})\n{TRAINED}",
        )
    return found


def saved_reward_model(name: str) -> Path | None:
    """The folder of a reward model that rlnlp has saved, which ``name`` or the run of that name is; else None."""
    path = path_of(name)
    return next((folder for folder in (path / REWARD_MODEL, path) if (folder / REWARD_RECORD).is_file()), None)


def without_reward_model(directory: Path) -> str | None:
    """What is to be told of a run that holds no reward model, or of its checkpoint; None for anything else.

    Raises:
        Failure: exit 6, if the run's settings cannot be read.
    """
    kept = directory.parent.name in ("checkpoints", "models")
    run = directory.parent.parent if kept else directory
    if not is_run(run) or (directory / REWARD_MODEL).is_dir():
        return None
    algo, shown = read_settings(run)["algo"]["name"], one_line(str(directory))
    if run != directory and (run / REWARD_MODEL).is_dir():
        return f"'{shown}' is no model by itself; the reward model of its run is in {one_line(str(run))}"
    return f"'{shown}' is of a run of {algo} and has no {REWARD_MODEL}/\n{TRAINED}"


def without_policy(run: Path) -> str:
    """What is to be told of a run that has no policy."""
    if (run / REWARD_MODEL).is_dir():
        return f"{run} holds a reward model and no policy; it scores texts: {command('rank', run)} TEXT ..."
    return f"{run} has no policy/ yet: the run has not finished"


def context_length(weights: str) -> int | None:
    """The longest text that the located model can read, in tokens; None if its config does not limit that."""
    base = read_object(Path(weights) / ADAPTER).get("base_model_name_or_path")
    path = Path(base if isinstance(base, str) else weights) / "config.json"
    if not path.is_file():
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(weights, "config.json")
        path = Path(cached) if isinstance(cached, str) else path
    return context_in(read_object(path))


def context_in(stored: Mapping[str, Any]) -> int | None:
    """The longest text of a model with this ``config.json``, tokens; None if no setting of it limits that."""
    parts = [stored, *(stored[name] for name in TEXT_PARTS if isinstance(stored.get(name), Mapping))]
    found = [part.get(key) for part in parts for key in CONTEXT_KEYS]
    return next((n for n in found if isinstance(n, int) and not isinstance(n, bool) and n > 0), None)


def resolve(key: str, name: str, needed: str, allow_download: bool, allow: str = "") -> str:
    """The directory or hub id that the setting ``key`` means by ``name``; a run directory means its result.

    ``allow`` is the setting that allows to fetch it, if that is not ``allow_download`` beside ``key``.

    Raises:
        Failure: exit 4, if it does not exist, has no file ``needed``, or may not be fetched.
    """
    if name.partition("/")[0] == "embedded":
        return _embedded(key, name)
    path = Path(name).expanduser()
    if (path / "policy" / "config.json").is_file() or is_adapter(path / "policy"):  # a run directory: its result
        path /= "policy"
    if needed == "config.json" and path.is_dir() and adapter_base(path) is not None:
        base_of(str(path), allow_download)
        return str(path)
    if path.is_dir() and not (path / needed).is_file():
        if (path / "run.json").is_file():
            raise Failure(Exit.MODEL, f"{key} '{one_line(name)}' is no model: {without_policy(path)}")
        raise Failure(Exit.MODEL, f"{key} '{one_line(name)}' has no {needed}: it is not a model")
    if path.is_dir():
        check = check_model_files if needed == "config.json" else check_tokenizer_files
        check(f"{key} '{one_line(name)}'", path)
        return str(path)
    if path.exists():
        raise Failure(Exit.MODEL, f"{key} '{one_line(name)}' is a file, not a model directory")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or os.sep in name.replace("/", "", 1):
        raise Failure(Exit.MODEL, f"{key} '{one_line(name)}' not found (no such directory)")
    if not allow_download and not _cached(name):
        raise Failure(
            Exit.MODEL,
            f"{key} '{one_line(name)}' is neither a directory here nor in the local cache of the hub\n"
            f"give a directory, or set {allow or key.rpartition('.')[0] + '.allow_download'}=true to fetch it",
        )
    return name


def _embedded(key: str, name: str) -> str:
    named = {_name(path): path for path in sorted(ASSETS.glob("*/")) if (path / "tokenizer_config.json").is_file()}
    chosen = "embedded" if name == "embedded/tiny" else name.rstrip("/")  # as version 0.1.0 called it
    if chosen not in named:
        hint = nearest(chosen, list(named))
        raise Failure(
            Exit.MODEL, f"{key} '{one_line(name)}' is not in the package{hint}\nchoose from: {', '.join(named)}"
        )
    return str(named[chosen])


def _name(path: Path) -> str:
    """What a model of the package is called: ``embedded``, or ``embedded/`` and the name of its folder."""
    return "embedded" if path.name == "embedded" else f"embedded/{path.name}"


def _cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        return False
