"""Figures as people read them."""

from collections.abc import Mapping, Sequence
from typing import Any

SAYS = "95 % interval"


def places(*values: float | None) -> int:
    """How many decimals values of this size are shown with."""
    size = max((abs(value) for value in values if value is not None), default=0.0)
    return next((n for least, n in ((1000, 0), (100, 1), (10, 2), (0.01, 3)) if size >= least), 5 if size else 3)


def row_places(row: Mapping[str, Any]) -> int:
    """The decimals of a measure's row: so many that no figure but 0 is shown as 0, up to 5."""
    shown = (row["difference"], *(row["difference_interval"] or ()))
    small = min((abs(value) for value in shown if value), default=1.0)
    decimals = places(row["before"], row["after"])
    while decimals < 5 and 2 * small < 10**-decimals:
        decimals += 1
    return decimals


def nats(kl: float) -> int:
    """How many decimals a KL is shown with."""
    return 2 if kl == 0 or abs(kl) >= 0.1 else 4


def number(value: float | None, decimals: int = 3) -> str:
    """``0.123``; a dash where there is none."""
    return "–" if value is None else f"{value:,.{decimals}f}"


def signed(value: float | None, decimals: int = 3) -> str:
    """``+0.123``."""
    return "–" if value is None else f"{value:+,.{decimals}f}"


def interval(ends: Sequence[float] | None, decimals: int = 3, sign: bool = False) -> str:
    """``[0.120, 0.130]``; nothing where none is known."""
    write = signed if sign else number
    return "" if ends is None else f"[{write(ends[0], decimals)}, {write(ends[1], decimals)}]"


def percent(value: float | None) -> str:
    """``84 %``; a decimal where rounding would make all or nothing of it."""
    if value is None:
        return "–"
    rough = f"{100 * value:.0f}"
    return f"{100 * value:.1f} %" if rough in ("0", "100") and value not in (0, 1) else f"{rough} %"


def percents(ends: Sequence[float] | None) -> str:
    """``[81 %, 87 %]``; nothing where none is known."""
    return "" if ends is None else f"[{percent(ends[0])}, {percent(ends[1])}]"


def p_value(p: float | None) -> str:
    """``0.0001``, ``0.034``; a dash where nothing was tested."""
    return "–" if p is None else f"{p:.4f}" if p < 0.01 else f"{p:.3f}"
