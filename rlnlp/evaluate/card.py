"""The model card of a trained policy, ``policy/README.md``: what it is made from, how, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rlnlp.config.differing import words_of
from rlnlp.config.schema import OnPolicyRun, RlhfRun, Trained
from rlnlp.errors import command
from rlnlp.evaluate.summary import Report, escaped, fenced, result_table, settings_table
from rlnlp.run.manifest import redacted

ADAPTER = "This is an adapter: transformers loads it onto its base where peft is installed (`pip install peft`)."
USE = """from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("policy")
tokenizer = AutoTokenizer.from_pretrained("policy")"""


def model_card(
    config: Trained, described: Mapping[str, str], asked: Trained, report: Report, hidden: Sequence[str]
) -> str:
    """The card as Markdown with the front matter of the hub; ``asked`` are the settings before anything was decided.

    ``described`` is their description. The values of ``hidden`` are left out.
    """
    algo = asdict(config)["algo"]["name"]
    lora = config.model.lora
    adapter = lora.on and not lora.merge
    front = [
        f"library_name: {'peft' if adapter else 'transformers'}",
        "pipeline_tag: text-generation",
        f"tags: [rlnlp, {algo}]",
    ]
    if (base := hub_id(config.model.path)) is not None:
        front.insert(0, f"base_model: {base}")
    kind = "reinforcement learning" if isinstance(config, OnPolicyRun) else "supervised fine-tuning"
    kind = "reinforcement learning from human feedback" if isinstance(config, RlhfRun) else kind
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
        settings_table(described),
        fenced(command(algo, *words_of(redacted(asdict(asked), hidden)))),
        "## Use",
        *([ADAPTER] if adapter else []),
        f"```python\n{USE}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def hub_id(path: str | None) -> str | None:
    """``path`` if it is a model of the hub: such a base can be linked."""
    local = path is None or path.partition("/")[0] == "embedded" or Path(path).expanduser().exists()
    return None if local else path
