"""Reward for the right number as the answer to a question, such as those of GSM8K (Cobbe et al. 2021)."""

import re
from fractions import Fraction
from typing import Literal

from rlnlp.errors import Exit, Failure

LONGEST = 100  # characters of a number; Python refuses to read one of more than 4,300 digits
CURRENCY = "$€£¥"
MARK = re.compile(r"####[\s*:=(\\]*")
BOX = re.compile(r"\\boxed\s*\{")
FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{\s*([0-9.,]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9.,]+)\s*\}|([0-9]))")
WHOLE = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_])(?<![0-9]\.)"  # neither within a word such as H2O nor the 3 of 1.2.3
    rf"(?:(?<![)\]}}])(?P<sign>[-+][{CURRENCY}]?|[{CURRENCY}]\ ?[-+]?))?"  # (a)-3 subtracts, - 4 is in a list
    rf"(?:(?P<mixed>{WHOLE})\ (?=[0-9]+/[0-9]))?"
    rf"(?P<value>(?:{WHOLE}(?:\.[0-9]+)?|(?<!\.)\.[0-9]+)(?:[eE][-+]?[0-9]{{1,2}}(?![0-9]))?)"
    rf"(?:\ ?/\ ?(?P<below>{WHOLE}(?:\.[0-9]+)?))?"
)


def exact_answer(
    completions: list[str], references: list[str | None], method: Literal["flexible", "strict"] = "flexible"
) -> list[float]:
    r"""1 if the completion's answer is the number of the prompt's reference, else 0.

    The answer is the number behind the last ``####``, else in the last ``\boxed{}``, else, unless ``method`` is
    ``strict``, the last number of the text. The reference is read in the same way, whatever the method. Numbers are
    compared exactly, as fractions: 1,000.50 is 1000.5, 0.75 is 3/4; a currency's sign and % count as nothing.

    Raises:
        Failure: exit 3, if a prompt has no reference, or one without a number.
    """
    right = [None if reference is None else answer(reference) for reference in references]
    if None in right:
        raise Failure(
            Exit.DATA,
            "reward.terms.exact-answer needs a number as the 'reference' of every prompt, and some have none\n"
            "say which column has the answers, data.columns={reference: answer}, or leave these prompts out",
            "no-reference",
        )
    return [float(answer(c, method) == r) for c, r in zip(completions, right, strict=True)]


def answer(text: str, method: Literal["flexible", "strict"] = "flexible") -> Fraction | None:
    """The number that ``text`` gives as its answer; None if it gives none."""
    text = _plain(text)
    for mark in reversed(list(MARK.finditer(text))):
        if found := NUMBER.match(text, mark.end()):
            return _value(found)
    for box in reversed(list(BOX.finditer(text))):
        if found := _last_number(_braced(text, box.end())):
            return _value(found)
    found = _last_number(text) if method == "flexible" else None
    return _value(found) if found else None


def _plain(text: str) -> str:
    r"""``text`` with the notations of LaTeX and the signs of typographers as those of plain numbers."""
    text = re.sub(r"\\([$%])|\{,\}|,?\\[,!]", lambda found: found[1] or ",", text.replace("−", "-"))
    text = FRACTION.sub(lambda found: f"{found[1] or found[2]}/{found[3] or found[4]}", text)
    return re.sub(rf"([0-9]) ?[{CURRENCY}]", r"\1", text)


def _braced(text: str, start: int) -> str:
    """From ``start`` to the brace that closes what is open there, or to the end."""
    depth = 1
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start:i]
    return text[start:]


def _last_number(text: str) -> re.Match[str] | None:
    return next(reversed(list(NUMBER.finditer(text))), None)


def _value(found: re.Match[str]) -> Fraction | None:
    if len(found[0]) > LONGEST:
        return None
    value, below, mixed = (Fraction((found[name] or "0").replace(",", "")) for name in ("value", "below", "mixed"))
    if found["below"] is not None:
        if below == 0:
            return None
        value /= below
    return (value + mixed) * (-1 if "-" in (found["sign"] or "") else 1)
