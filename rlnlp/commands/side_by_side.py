"""Responses printed for people: each behind its prompt, or those of several models and their scores below it."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from rlnlp.errors import safe_text

NAME = 24  # columns of a model's name
NARROWEST = 20  # columns that are left for a response


def print_responses(records: Sequence[dict[str, Any]], in_table: bool) -> None:
    """Print each prompt with its response, bold prompts in a terminal; ``in_table``: with who said it and its score."""
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    if in_table:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print("\n".join(table(records, bold, plain, width)))
        return
    for record in records:
        joint = "" if record["response"][:1].isspace() or record["prompt"][-1:].isspace() else " "
        print(f"{bold}{safe_text(record['prompt'])}{plain}{joint}{safe_text(record['response'])}")


def table(records: Sequence[dict[str, Any]], bold: str, plain: str, width: int | None) -> Iterator[str]:
    """Below each prompt its responses: score, model and text, no line longer than ``width``."""
    names = short_names(list(dict.fromkeys(record["model"] for record in records)))
    column = max(map(len, names.values())) if len(names) > 1 else 0
    for i, (_, group) in enumerate(groupby(records, lambda record: record["number"])):
        rows = list(group)
        yield from [""] if i else []
        for line in () if rows[0]["prompt"] is None else _wrapped(rows[0]["prompt"], width):
            yield f"{bold}{line}{plain}"
        for record in rows:
            score = [f"{record['score']:8.3f}"] if "score" in record else []
            cells = [*score, *([f"{names[record['model']]:<{column}}"] if column else [])]
            head = "  ".join([*cells, ""]) if score else "  ".join(["", *cells, ""])
            lines = _wrapped(record["response"].strip() or "(nothing)", None if width is None else width - len(head))
            yield f"{head}{lines[0]}".rstrip()
            yield from (f"{'':{len(head)}}{line}".rstrip() for line in lines[1:])


def short_names(names: Sequence[str]) -> dict[str, str]:
    """A short name for each path or model id: as much of its end as tells it from the others, and there is room for."""
    shown = {name: safe_text(name.rstrip("/").replace("\n", " ")) for name in names}
    parts = {name: text.split("/") for name, text in shown.items()}
    ends: dict[str, str] = {}
    for name, part in parts.items():
        others = [other for each, other in parts.items() if each != name]
        lengths = (n for n in range(1, len(part)) if all(other[-n:] != part[-n:] for other in others))
        ends[name] = "/".join(part[-next(lengths, len(part)) :])
    return {name: text if len(text) <= NAME else f"…{text[1 - NAME :]}" for name, text in ends.items()}


def _wrapped(text: str, width: int | None) -> list[str]:
    lines = safe_text(text).expandtabs(4).split("\n")
    if width is None:
        return lines
    most = max(NARROWEST, width)
    return [
        part
        for line in lines
        for part in textwrap.wrap(line, most, drop_whitespace=True, break_on_hyphens=False) or [""]
    ]
