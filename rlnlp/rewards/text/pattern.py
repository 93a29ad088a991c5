"""Reward for text in which a regular expression is found."""

import re


def pattern(completions: list[str], regex: str) -> list[float]:
    """1 where ``regex`` (of Python's ``re``) is found somewhere in the completion, else 0.

    Raises:
        ValueError: it is no regular expression.
    """
    try:
        compiled = re.compile(regex)
    except re.error as error:
        raise ValueError(f"regex is wrong at character {error.pos}: {error.msg}, got '{regex}'") from error
    except (OverflowError, RecursionError) as error:
        raise ValueError(f"regex cannot be used: {error}") from error
    return [float(compiled.search(completion) is not None) for completion in completions]
