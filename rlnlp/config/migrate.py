"""Settings, checkpoint states and facts that earlier versions stored, brought to the present.

Whoever changes a setting's name, type or values, or adds one, raises ``CONFIG_VERSION`` and adds a ``Step``; a test
fails if the schema changes and the version does not.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from rlnlp.config.algos import Optimization, Ppo, Sft
from rlnlp.config.conversations import AUTO, Conversations
from rlnlp.config.data import PromptData, Reading, TextData
from rlnlp.config.model import Device, Model, Sampler
from rlnlp.config.observing import Checkpoint, Heldout
from rlnlp.config.reward import Reward, RewardTerm, built_in_name
from rlnlp.config.schema import RUNS, Common
from rlnlp.config.setting import group_of
from rlnlp.errors import Exit, Failure, one_line

CONFIG_VERSION = 7  # of config.yaml; rlnlp 0.1.0 wrote none, which is 1


@dataclass(frozen=True)
class Step:
    """What ``version`` changed in the settings of a dataclass, wherever in the schema that occurs."""

    version: int
    schema: type
    renamed: Mapping[str, str] = field(default_factory=dict)  # old name: new name
    added: Mapping[str, Any] = field(default_factory=dict)  # new setting: the value that gives the old bytes
    converted: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)  # setting: old value to new value
    null_was: Mapping[str, str] = field(default_factory=dict)  # setting: the one whose value its null stood for

    def apply(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of one such dataclass after this step."""
        found = {self.renamed.get(name, name): value for name, value in node.items()}
        found = {name: self.converted.get(name, _same)(value) for name, value in found.items()}
        found |= {name: found.get(other) for name, other in self.null_was.items() if found.get(name, 0) is None}
        return {**found, **{name: value for name, value in self.added.items() if name not in found}}


def _same(value: Any) -> Any:
    return value


def _short_fn(fn: Any) -> Any:
    """A function of the package by its short name; whatever else as it is."""
    return (built_in_name(fn) if isinstance(fn, str) else None) or fn


STEPS = (  # in the order of their versions
    Step(2, TextData, renamed={"best": "best_fraction"}),
    Step(2, Sft, renamed={"fit_temperature": "loss_temperature"}),
    Step(2, Heldout, renamed={"prompts": "size"}),
    Step(2, RewardTerm, converted={"fn": _short_fn}),
    Step(3, Checkpoint, added={"keep_models": 0, "result": "last"}),
    Step(3, Heldout, added={"patience": 0}),
    Step(4, Ppo, null_was={"critic_learning_rate": "learning_rate"}),
    Step(4, Reading, added={"columns": {}, "encoding": "utf-8"}),
    Step(4, Conversations, added={"template": "auto", "system": None, "template_args": {}}),
    Step(4, PromptData, added={"too_long": "refuse"}),
    Step(4, TextData, added={"too_long": "refuse", "turns": "all"}),
    Step(4, RewardTerm, added={"conversational": False}),
    Step(4, Reward, added={"workers": 0}),
    Step(4, Model, added={"resize_embeddings": False, "save_dtype": "float32"}),
    Step(4, Sampler, added={"stop": None}),
    Step(7, Model, added={"reference_dtype": "same"}),
    Step(7, Optimization, added={"micro_batch_tokens": None}),
    Step(7, Device, added={"share_prompts": "never", "parallel": "none"}),
    Step(7, Common, added={"tracker": {"name": "none", "project": "rlnlp", "run_name": None, "offline": False}}),
    Step(7, Reading, added={"split": "train", "heldout_split": "test", "allow_download": False}),
    Step(7, Model, added={"lora": {"rank": None, "alpha": 32.0, "target_modules": "all-linear", "merge": False}}),
)


def migrate(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a ``config.yaml`` of this or any earlier version, for ``parse``.

    Raises:
        Failure: exit 6, if a later version wrote them.
    """
    settings = dict(stored)
    version = settings.pop("config_version", 1)
    if type(version) is not int or not 1 <= version <= CONFIG_VERSION:
        known = f"this rlnlp reads 1 to {CONFIG_VERSION}; a later one wrote it"
        raise Failure(Exit.RUN, f"config_version is {one_line(repr(version), 40)}: {known}")
    if version == CONFIG_VERSION:
        return settings
    algo = settings.get("algo")
    name = algo.get("name") if isinstance(algo, Mapping) else None
    found: dict[str, Any] = (
        migrated(RUNS[name], settings, version) if isinstance(name, str) and name in RUNS else settings
    )
    return found


def migrated(kind: Any, node: Any, version: int) -> Any:
    """``node``, settings of the type ``kind`` as ``version`` stored them, after all later steps."""
    if is_dataclass(kind) and isinstance(node, Mapping):
        for step in STEPS:
            if step.version > version and issubclass(kind, step.schema):  # type: ignore[arg-type]
                node = step.apply(node)
        hints = get_type_hints(kind)
        return {name: migrated(hints.get(name), value, version) for name, value in node.items()}
    if isinstance(node, Mapping) and (group := group_of(kind, node)) is not None:
        return migrated(group, node, version)
    inner = [each for each in get_args(kind) if is_dataclass(each)]
    if not inner:
        return node
    if get_origin(kind) is dict and isinstance(node, Mapping):
        return {name: migrated(inner[0], value, version) for name, value in node.items()}
    if get_origin(kind) is list and isinstance(node, list):
        return [migrated(inner[0], value, version) for value in node]
    return migrated(inner[0], node, version)  # the dataclass or None


def new_name(schema: type, name: str) -> str:
    """What the setting of ``schema`` that was once called ``name`` is called now."""
    for step in STEPS:
        if issubclass(schema, step.schema):
            name = step.renamed.get(name, name)
    return name


def new_key(schema: type, key: str) -> str:
    """The full key that the setting of the full key ``key`` has now."""
    kind: Any = schema
    found = []
    for part in key.split("."):
        if is_dataclass(kind):
            found.append(new_name(kind, part))  # type: ignore[arg-type]
            kind = get_type_hints(kind).get(found[-1])
            kind = group_of(kind, None) or kind
        else:
            found.append(part)
            kind = next((each for each in get_args(kind) if is_dataclass(each)), None)
    return ".".join(found)


def migrate_state(state: Mapping[str, Any], inputs: Collection[str]) -> dict[str, Any]:
    """The ``state.json`` of a checkpoint of any earlier version. ``inputs``: what the present run is made from.

    Version 0.1.0 kept the sha256 of functions that are built in now; where a function of the user's has become
    another, the change of its setting is asked about already.
    """
    state = {"since_best": 0, **state}
    if "data.template" in inputs:  # before there were conversations, every model had its own
        state |= {name: {"data.template": AUTO, **state[name]} for name in ("inputs", "built") if name in state}
    if "built" not in state:
        return state
    names = {"in_a_row": "consecutive_skips", "built": "inputs"}
    found = {names.get(name, name): value for name, value in state.items()}
    found["best"] = {"value" if name == "worth" else name: value for name, value in found["best"].items()}
    found["inputs"] = {key: value for key, value in found["inputs"].items() if key in inputs or not key.endswith(".fn")}
    return found


def migrate_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The ``run.json`` of any earlier version: the sha256 of the user's functions by their full keys."""
    found = dict(facts)
    code = found.pop("reward_code", None)
    if isinstance(code, Mapping):
        found.setdefault("code", {f"reward.terms.{name}.fn": sha for name, sha in code.items()})
    return found
