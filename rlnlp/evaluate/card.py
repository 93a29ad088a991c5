"""The model card of a trained policy, ``policy/README.md``: what it is made from, how, and what came of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from rlnlp.config.choices import compose
from rlnlp.config.description import Trained, description
from rlnlp.config.reward import RewardTerm
from rlnlp.config.schema import OnPolicyRun
from rlnlp.config.setting import leaves
from rlnlp.errors import command
from rlnlp.evaluate.summary import Report, escaped, fenced, result_table, settings_table
from rlnlp.run.manifest import redacted

TERMS = ("reward", "terms")
USE = """from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("policy")
tokenizer = AutoTokenizer.from_pretrained("policy")"""


def model_card(config: Trained, asked: Trained, report: Report, hidden: Sequence[str]) -> str:
    """The card as Markdown with the front matter of the hub; ``asked`` are the settings before anything was decided.

    The values of ``hidden`` are left out.
    """
    algo = asdict(config)["algo"]["name"]
    front = ["library_name: transformers", "pipeline_tag: text-generation", f"tags: [rlnlp, {algo}]"]
    if (base := hub_id(config.model.path)) is not None:
        front.insert(0, f"base_model: {base}")
    kind = "reinforcement learning" if isinstance(config, OnPolicyRun) else "supervised fine-tuning"
    parts = [
        "\n".join(["---", *front, "---"]),
        f"# {escaped(report.title)}",
        f"A causal language model trained with rlnlp, by {kind} ({escaped(algo)}).",
        "## Result",
        escaped(report.measured),
        result_table(report),
        *map(escaped, report.notes),
        *(f"**Warning:** {escaped(warning)}" for warning in report.warnings),
        "## Training",
        settings_table(description(config)),
        fenced(command(algo, *words_of(asked, hidden))),
        "## Use",
        f"```python\n{USE}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def hub_id(path: str | None) -> str | None:
    """``path`` if it is a model of the hub: such a base can be linked."""
    local = path is None or path.partition("/")[0] == "embedded" or Path(path).expanduser().exists()
    return None if local else path


def words_of(config: Trained, hidden: Sequence[str]) -> list[str]:
    """The settings that differ from the algorithm's defaults, as words of a command line; secrets redacted."""
    settings = redacted(asdict(config), hidden)
    usual = compose("train", chosen={"algo": settings["algo"]["name"]})
    was = dict(leaves({name: part for name, part in usual.items() if name in settings}))
    terms, usual_terms = settings.get("reward", {}).get("terms", {}), usual.get("reward", {}).get("terms", {})
    words = [f"~reward.terms.{name}" for name in usual_terms if name not in terms]
    for key, value in leaves(settings):
        *group, name, last = key.split(".") if "." in key else ("", "", key)
        new_term = tuple(group) == TERMS and name not in usual_terms
        if key in was:
            words += [] if was[key] == value else [f"{key}={shown(value)}"]
        elif new_term or tuple(key.split(".")[:2]) == TERMS:
            words += [] if last in usual_of_term() and usual_of_term()[last] == value else [f"+{key}={shown(value)}"]
        else:
            words.append(f"+{key}={shown(value)}")
    return words


def usual_of_term() -> Mapping[str, Any]:
    """The settings of a reward term that nothing is said of."""
    found = {f.name: f.default for f in fields(RewardTerm) if f.default is not MISSING}
    return found | {f.name: f.default_factory() for f in fields(RewardTerm) if f.default_factory is not MISSING}


def shown(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return "{}" if value == {} else str(value)
