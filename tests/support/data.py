"""Settings of data as conf/ has them, but for what a test changes."""

from rlnlp.config.data import PromptData, TextData

READING = {
    "columns": {}, "encoding": "utf-8", "split": "train", "heldout_split": "test", "allow_download": False,
    "template": "auto", "system": None, "template_args": {},
}  # fmt: skip


def prompt_data(prompts, heldout=None, **changes) -> PromptData:
    """What the policy is asked."""
    return PromptData(**{**READING, "prompts": prompts, "heldout": heldout, "too_long": "drop", **changes})


def text_data(texts, best_fraction=1.0, heldout=None, **changes) -> TextData:
    """What a language model is fitted to."""
    given = {"texts": texts, "best_fraction": best_fraction, "heldout": heldout, "turns": "all"}
    return TextData(**{**READING, **given, "too_long": "drop", **changes})
