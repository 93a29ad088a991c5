"""How a setting is declared, and how a wrong one is told."""

from dataclasses import field
from typing import Any

Problem = tuple[str, str]  # key below the object's own, what is wrong


def setting(meaning: str, unit: str = "", **limits: float) -> Any:
    """A setting without a default: what it means, its unit, and limits ``gt``, ``ge``, ``lt``, ``le``."""
    return field(metadata={"meaning": meaning, "unit": unit, **limits})
