"""Reward for a match of a regular expression."""

import re


def pattern(completions: list[str], regex: str) -> list[float]:
    """1 if ``regex`` (syntax of Python's ``re``) matches somewhere in the completion, else 0.

    Raises:
        ValueError: it is not a valid regular expression.
    """
    try:
        compiled = re.compile(regex)
    except re.error as error:
        raise ValueError(f"regex is wrong at character {error.pos}: {error.msg}, got '{regex}'") from error
    except (OverflowError, RecursionError) as error:
        raise ValueError(f"regex cannot be used: {error}") from error
    return [float(compiled.search(completion) is not None) for completion in completions]
