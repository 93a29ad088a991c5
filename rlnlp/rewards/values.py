"""What a reward function returned, as plain numbers: checked, whatever their types; nothing here imports torch."""

import math
from collections.abc import Sequence
from typing import Any, SupportsFloat

from rlnlp.errors import Exit, Failure, counted, one_line

Values = list[float | None] | list[list[float] | None]  # a number per response, or a list for its tokens; None abstains


def plain_values(name: str, returned: Any, tokens: Sequence[int], first: int = 0) -> Values:
    """The values that the function of the term ``name`` gave for responses of so many ``tokens`` each.

    ``first`` is the number of the first response in the whole batch, for messages.

    Raises:
        Failure: exit 7, unless it is a flat list, array or tensor with a finite number or None for each response, or a
            list with such numbers for each token of each response.
    """
    array = hasattr(returned, "tolist")
    values = returned.tolist() if array else returned
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise reward_error(name, f"returned {type(values).__name__}, expected a list of {len(tokens)} numbers")
    if len(values) != len(tokens):
        raise reward_error(name, f"returned {len(values)} values for {len(tokens)} completions")
    given = [value for value in values if value is not None]
    if given and not array and is_list(given[0]):
        rows = zip(values, tokens, strict=True)
        return [None if row is None else _row(name, row, n, i) for i, (row, n) in enumerate(rows, first)]
    return [None if value is None else _number(name, value, i) for i, value in enumerate(values, first)]


def is_list(value: Any) -> bool:
    """True for a list or tuple, and for an array or tensor of one dimension; False for a text."""
    if hasattr(value, "tolist"):
        plain = value.tolist()
        return isinstance(plain, list) and not any(isinstance(each, list) for each in plain)
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def reward_error(name: str, problem: str, where: str = "") -> Failure:
    """The error of the term ``name``: what its function did, a line on ``where``, what to do."""
    advice = f"fix the function (reward.terms.{name}.fn) and run again"
    lines = [f"reward term '{name}' {problem}", *([where] if where else []), advice]
    return Failure(Exit.REWARD, "\n".join(lines), "reward-fails")


def _row(name: str, row: Any, tokens: int, i: int) -> list[float]:
    if not is_list(row):
        shown = one_line(repr(row), 60)
        raise reward_error(name, f"returned {shown} for completion {i}, expected a list, as for the others")
    if len(row) != tokens:
        raise reward_error(
            name, f"returned {counted(len(row), 'number')} for the {counted(tokens, 'token')} of completion {i}"
        )
    return [_number(name, value, i) for value in row]


def _number(name: str, value: Any, i: int) -> float:
    """``value`` as a float: a bool, any number, or what holds one, such as a scalar of numpy or a tensor of torch."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, str | bytes | bytearray) or not isinstance(plain, SupportsFloat):
        raise reward_error(name, f"returned {one_line(repr(plain), 60)} for completion {i}, expected a number")
    try:
        number = float(plain)
    except OverflowError as error:
        raise reward_error(name, f"returned a number too large for completion {i}") from error
    except (TypeError, ValueError) as error:
        shown = one_line(repr(plain), 60)
        raise reward_error(name, f"returned {shown} for completion {i}, expected a number") from error
    if not math.isfinite(number):
        raise reward_error(name, f"returned {number} for completion {i}")
    return number
