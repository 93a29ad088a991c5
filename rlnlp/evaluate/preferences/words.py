"""The figures of a reward model as people read them: accuracies in percent, differences in points."""

from collections.abc import Mapping, Sequence
from typing import Any

SHARES = "set of texts"  # what rows without a prompt and a group belong to


def plural(unit: str) -> str:
    """Several prompts, groups or sets of texts."""
    return "sets of texts" if unit == SHARES else f"{unit}s"


def where(record: Mapping[str, Any]) -> str:
    """What was measured on, in words that every figure bears."""
    return "held-out pairs" if record["separate"] else "training pairs"


def rate(value: float | None) -> str:
    """``71.2 %``; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f} %"


def rates(ends: Sequence[float] | None) -> str:
    """``[68.0 %, 74.1 %]``; nothing where none is known."""
    return "" if ends is None else f"[{rate(ends[0])}, {rate(ends[1])}]"


def points(value: float | None) -> str:
    """``-6.1``: percentage points; ``0.0`` has no sign."""
    return "–" if value is None else f"{100 * value:+.1f}" if abs(value) >= 0.0005 else "0.0"


def points_interval(ends: Sequence[float] | None) -> str:
    """``[-8.2, -3.9]``; nothing where none is known."""
    return "" if ends is None else f"[{points(ends[0])}, {points(ends[1])}]"


def gain_words(baseline: Mapping[str, Any]) -> str:
    """``-6.1 points [-8.2, -3.9]``."""
    return f"{points(baseline['gain'])} points {points_interval(baseline['gain_interval'])}".rstrip()
