"""``rlnlp explain [KEY ...]``: what a setting, a group, a reward term or a metric means."""

import argparse
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from rlnlp.commands.explain.catalogue import NAME, Setting, catalogue, choices_of, show
from rlnlp.commands.explain.names import ELSEWHERE, elsewhere, named_elsewhere
from rlnlp.commands.explain.reads import read_at
from rlnlp.commands.explain.terms import terms
from rlnlp.config.parse import nearest
from rlnlp.errors import Exit, Failure, one_line, safe_text
from rlnlp.metrics import METRICS, find_metric, metric_rows

PLACES = 3  # of the source, shown for a setting
NARROW = 60  # columns; below, a label has a line of its own
Rows = list[tuple[str, str]]  # label and text of each line


class Told(Protocol):
    """A setting, a reward term or a metric."""

    def record(self) -> dict[str, Any]:
        """All of it as plain data."""
        ...


@dataclass(frozen=True)
class Answer:
    """What is said of one word: to people a title and rows, to programs the records of what it is about."""

    title: str
    rows: Rows
    about: Sequence[Told]


def main(argv: list[str]) -> int:
    """Find and print.

    Raises:
        Failure: exit 2, for a word that nothing is called.
    """
    asked = arguments(argv)
    if asked.readme:
        print("\n".join(tables()), end="")
        return Exit.DONE
    answers = [found for word in asked.keys for found in find(word)] if asked.keys else overview()
    if asked.json:
        print(json.dumps([one.record() for answer in answers for one in answer.about]))
    else:
        tell(answers, Console(highlight=False))
        if not asked.keys:
            print("\nrlnlp explain KEY tells more of a setting, a group, a reward term or a metric.")
    return Exit.DONE


def arguments(argv: list[str]) -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(
        prog="rlnlp explain",
        description="Tell what a setting means, its limits and default, where it is read, and its name elsewhere.",
    )
    parser.add_argument(
        "keys", metavar="KEY", nargs="*", help="a setting, its last word, its name in TRL or verl, a group, a reward "
        "term or a metric; none lists all settings",
    )  # fmt: skip
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a list of records")
    form.add_argument("--readme", action="store_true", help="print the tables of README.md")
    asked = parser.parse_args(argv)
    if asked.readme and asked.keys:
        parser.error("--readme takes no KEY")
    return asked


def find(word: str) -> list[Answer]:
    """What ``word`` names; several answers if another library's name stands for several settings.

    Raises:
        Failure: exit 2, if nothing is called so, or several settings end so.
    """
    known, word = catalogue(), word.partition("=")[0]
    for key, one in known.items():
        if re.fullmatch(re.escape(key).replace(re.escape(NAME), "[^.]+"), word):
            return [of_setting(one)]
    if group_keys(word) or choices_of(word if word.isidentifier() else ""):
        return [of_group(word)]
    term = terms().get(word.removeprefix("reward.terms."))
    if term is not None:
        return [Answer(f"reward.terms.{term.name}", term.rows(), [term])]
    ends = [key for key in known if key.endswith(f".{word}")]
    shallow = [key for key in ends if key.count(".") == min(k.count(".") for k in ends)]
    if len(shallow) > 1:
        raise Failure(Exit.CONFIG, f"several settings end in '{one_line(word)}': {', '.join(shallow)}")
    keys = shallow or [key for key in named_elsewhere(word) if key in known]
    if keys:
        return [of_setting(known[key]) for key in keys]
    metric = find_metric(word)
    if metric is None:
        raise Failure(
            Exit.CONFIG, f"nothing is called '{one_line(word)}'{hint(word)}\nrlnlp explain lists the settings"
        )
    rows = [("", metric.formula), ("unit", metric.unit), ("healthy", metric.healthy)]
    return [Answer(f"{', '.join(metric.names)} in metrics.jsonl", rows, [metric])]


def hint(word: str) -> str:
    """The nearest thing that can be explained."""
    keys = list(catalogue())
    short = [key.rpartition(".")[2] for key in keys]
    foreign = [n for both in ELSEWHERE.values() for name in both for n in name.split(", ") if n != "-"]
    groups = [key.rpartition(".")[0] for key in keys if "." in key]
    figures = [name for metric in METRICS for name in metric.names]
    return nearest(word, [*keys, *short, *groups, *terms(), *foreign, *figures])


def group_keys(group: str) -> list[str]:
    """The settings below ``group``."""
    return [key for key in catalogue() if key.startswith(f"{group}.")]


def of_setting(one: Setting) -> Answer:
    """All that is known of a setting."""
    kind = f"{one.kind} {', '.join(one.choices)}" if one.choices else one.kind
    sites = read_at(one.key, one.owners)
    more = [f"and {len(sites) - PLACES} more"] if len(sites) > PLACES else []
    trl, verl = elsewhere(one.key)
    rows = [
        ("", one.meaning),
        ("type", kind),
        ("range", one.range),
        ("unit", one.unit),
        ("default", ", ".join(f"{algo} {show(value)}" for algo, value in one.defaults.items())),
        ("changed by", "; ".join(changed(word, value) for word, value in one.set_by.items())),
        ("read in", "; ".join([*map(str, sites[:PLACES]), *more])),
        ("elsewhere", f"TRL {trl}; verl {verl}"),
    ]
    return Answer(one.key, rows, [one])


def changed(word: str, value: Any) -> str:
    """What a ``group=choice`` does to a setting."""
    return f"{word} asks for it" if value == "???" else f"{word} sets {show(value)}"


def of_group(group: str) -> Answer:
    """The settings of a group, its choices, and the terms of a reward."""
    keys, names = group_keys(group), choices_of(group if "." not in group else "")
    rows = [(key, f"{line(catalogue()[key])}, default {catalogue()[key].default}") for key in keys]
    if names:
        rows.append(("choices", ", ".join(f"{group}={name}" for name in names)))
    if group == "reward":
        rows.append(("terms", ", ".join(terms())))
    return Answer(group, rows, [catalogue()[key] for key in keys])


def overview() -> list[Answer]:
    """Every setting on a line of its own, by group."""
    groups: dict[str, list[Setting]] = {}
    for key, one in catalogue().items():
        groups.setdefault(key.partition(".")[0] if "." in key else "in no group", []).append(one)
    return [Answer(group, [(one.key, line(one)) for one in members], members) for group, members in groups.items()]


def line(one: Setting) -> str:
    """A setting in a line: meaning and unit."""
    return one.meaning + (f" [{one.unit}]" if one.unit else "")


def tell(answers: list[Answer], console: Console) -> None:
    """Print for people: wrapped between words in a terminal, a line each elsewhere."""
    width = console.width if console.is_terminal else None
    for i, answer in enumerate(answers):
        column = max([len(label) for label, _ in answer.rows] + [9]) + 2
        text = Text("\n" if i else "").append(safe_text(answer.title), style="bold")
        for label, content in answer.rows:
            if content:
                for row in laid_out(safe_text(label), safe_text(content), column, width):
                    text.append("\n").append(row)
        console.print(text, soft_wrap=True)


def laid_out(label: str, content: str, column: int, width: int | None) -> Iterator[str]:
    """Lines of a label and its text; no line is longer than ``width`` unless a single word is."""
    if width is None:
        yield f"  {label:<{column}}{content}" if label else f"  {content}"
        return
    if label and width < NARROW:
        yield f"  {label}"
    first = "  " if not label else "    " if width < NARROW else f"  {label:<{column}}"
    rest = " " * len(first)
    yield from textwrap.wrap(
        content, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def tables() -> Iterator[str]:
    """The tables of README.md, each between its marks."""
    rows = [["key", "meaning", "unit", "default", "TRL", "verl"]]
    for one in catalogue().values():
        names = (", ".join(f"`{n}`" for n in both.split(", ")) if both != "-" else both for both in elsewhere(one.key))
        rows.append([f"`{one.key}`", one.meaning, one.unit, one.default, *names])
    for name, cells in (("settings", rows), ("metrics", metric_rows())):
        yield f"<!-- explain: {name}, as rlnlp explain --readme prints them -->\n"
        head, *body = (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells)
        yield from (head, "|" + "---|" * len(cells[0]), *body)
        yield f"\n<!-- explain: end of {name} -->\n"
