"""The grammar's own reading as reward terms: the noise-free taste, to measure with (weight 0) or to train on.

Named in a config as ``fn: gold-sentiment``. Prompt and completion are read as one text; all values are in [0, 1], 0.5
is neutral.
"""

from rlnlp.embedded.grammar.corpus import reader
from rlnlp.embedded.grammar.read import Reading


def sentiment(prompts: list[str], completions: list[str]) -> list[float]:
    """(1 + sentiment) / 2 of each text."""
    return [0.5 * (1 + reading.sentiment) for reading in _readings(prompts, completions)]


def politeness(prompts: list[str], completions: list[str]) -> list[float]:
    """(1 + politeness) / 2 of each text."""
    return [0.5 * (1 + reading.politeness) for reading in _readings(prompts, completions)]


def helpfulness(prompts: list[str], completions: list[str]) -> list[float]:
    """(1 + helpfulness) / 2 of each text."""
    return [0.5 * (1 + reading.helpfulness) for reading in _readings(prompts, completions)]


def harmless(prompts: list[str], completions: list[str]) -> list[float]:
    """1 where the text is in none of the moderation categories, else 0."""
    return [float(reading.category == "harmless") for reading in _readings(prompts, completions)]


def accepted(prompts: list[str], completions: list[str]) -> list[float]:
    """The fraction of complete sentences that the grammar could have written; 1 for a text without any."""
    readings = _readings(prompts, completions)
    return [r.accepted_sentences / r.sentences if r.sentences else 1.0 for r in readings]


def _readings(prompts: list[str], completions: list[str]) -> list[Reading]:
    read = reader().read
    return [
        read(f"{prompt.strip()} {completion.strip()}") for prompt, completion in zip(prompts, completions, strict=True)
    ]
