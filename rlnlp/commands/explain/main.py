"""``rlnlp explain [KEY ...]``: what a setting, a group, a reward term or a metric means."""

import argparse
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from rlnlp.commands.explain.catalog import Setting, catalog, group_of, show, stages_of
from rlnlp.commands.explain.terms import Term, terms
from rlnlp.config.changes import generic
from rlnlp.config.choices import choices_of
from rlnlp.config.parse import nearest
from rlnlp.config.schema import RUNS
from rlnlp.config.setting import alternatives, choosing
from rlnlp.errors import Exit, Failure, one_line, safe_text
from rlnlp.metrics import METRICS, Metric, find_metric, metric_rows

NARROW = 60  # columns; below, a label has a line of its own


@dataclass(frozen=True)
class Answer:
    """What is printed about one word: for people a title and rows, for programs the records of what it is about."""

    title: str
    rows: list[tuple[str, str]]  # label and text of each line
    about: Sequence[Setting | Term | Metric]


def main(argv: list[str]) -> int:
    """Find and print.

    Raises:
        Failure: exit 2, for a word that nothing is called.
    """
    args = arguments(argv)
    if args.tables:
        print("\n".join(tables()), end="")
        return Exit.DONE
    answers = [found for word in args.keys for found in find(word)] if args.keys else overview()
    if args.json:
        print(json.dumps([one.record() for answer in answers for one in answer.about]))
    else:
        print_answers(answers, Console(highlight=False))
        if not args.keys:
            print("\nrlnlp explain KEY prints more about a setting, a group, a reward term or a metric.")
    return Exit.DONE


def arguments(argv: list[str]) -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(
        prog="rlnlp explain",
        description="Print what a setting means, its limits and default, and its name in other libraries.",
    )
    parser.add_argument(
        "keys", metavar="KEY", nargs="*", help="a setting, its last word, its name in TRL or verl, a group, a reward "
        "term or a metric; none lists all settings",
    )  # fmt: skip
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a list of records")
    form.add_argument("--tables", action="store_true", help="print the tables of the guide: settings and metrics")
    args = parser.parse_args(argv)
    if args.tables and args.keys:
        parser.error("--tables takes no KEY")
    return args


def find(word: str) -> list[Answer]:
    """What ``word`` names; several answers if another library's name stands for several settings.

    Raises:
        Failure: exit 2, if nothing is called so, or several settings end so.
    """
    known, word = catalog(), re.sub(r"^\w+@", "", word.partition("=")[0])  # algo@algo.policy explains algo.policy
    if generic(word) in known:
        return [of_setting(known[generic(word)])]
    if (group := of_group(word)).rows:
        return [group]
    term = terms().get(word.removeprefix("reward.terms."))
    if term is not None:
        return [Answer(f"reward.terms.{term.name}", term.rows(), [term])]
    ends = [key for key in known if key.endswith(f".{word}")]
    shallow = [key for key in ends if key.count(".") == min(k.count(".") for k in ends)]
    if len(shallow) > 1 and len(by_others := [key for key in named_elsewhere(word) if key in shallow]) == 1:
        shallow = by_others  # sampler.temperature, which is called so everywhere
    if len(shallow) > 1:
        raise Failure(Exit.CONFIG, f"several settings end in '{one_line(word)}': {', '.join(shallow)}")
    keys = shallow or named_elsewhere(word)
    if keys:
        return [of_setting(known[key]) for key in keys]
    metric = find_metric(word)
    if metric is None:
        raise Failure(
            Exit.CONFIG, f"nothing is called '{one_line(word)}'{hint(word)}\nrlnlp explain lists the settings"
        )
    rows = [("", metric.formula), ("unit", metric.unit), ("healthy", metric.healthy)]
    return [Answer(f"{', '.join(metric.names)} in metrics.jsonl", rows, [metric])]


def named_elsewhere(word: str) -> list[str]:
    """Our keys for a name of TRL or verl; the last parts of a dotted name are enough (``rollout.n``).

    Where algorithms with stages have a setting in these, its own page says.
    """
    found = [
        key for key, one in catalog().items() if any(n == word or n.endswith(f".{word}") for n in one.elsewhere if word)
    ]
    nested = [key for one in found for keys in stages_of(one).values() for key in keys]
    return [key for key in found if key not in nested]


def hint(word: str) -> str:
    """The nearest thing that can be explained."""
    parts = [part for key in catalog() for part in (key, *key.rpartition(".")[::2]) if part]
    foreign = [name for one in catalog().values() for name in one.elsewhere]
    figures = [name for metric in METRICS for name in metric.names]
    return nearest(word, [*parts, *terms(), *foreign, *figures])


def of_setting(one: Setting) -> Answer:
    """All that is known of a setting."""
    kind = f"{one.kind} {', '.join(one.choices)}" if one.choices else one.kind
    changed = [f"{w} asks for it" if v == "???" else f"{w} sets {show(v)}" for w, v in one.set_by.items()]
    rows = [
        ("", one.help),
        ("type", kind),
        ("range", one.range),
        ("unit", one.unit),
        ("default", ", ".join(f"{algo} {show(value) or 'empty'}" for algo, value in one.defaults.items())),
        ("changed by", "; ".join(changed)),
        *((f"in {algo}", ", ".join(keys)) for algo, keys in stages_of(one.key).items()),
        ("elsewhere", f"TRL {one.trl or '-'}; verl {one.verl or '-'}"),
    ]
    return Answer(one.key, rows, [one])


def of_group(group: str) -> Answer:
    """The settings of a group, its choices, and the terms of a reward."""
    members = [one for key, one in catalog().items() if key.startswith(f"{group}.")]
    rows = [(one.key, f"{line(one)}, default {one.default}") for one in members]
    if names := choices_of(group if group.isidentifier() else ""):
        rows.append(("choices", ", ".join(f"{group}={name}" for name in names)))
    if stages := [names for schema in RUNS.values() for each, names in alternatives(schema).items() if each == group]:
        rows.append(("choices", ", ".join(choosing(group, name) for name in stages[0])))
    if group == "reward":
        rows.append(("terms", ", ".join(terms())))
    return Answer(group, rows, members)


def overview() -> list[Answer]:
    """Every setting on a line of its own, by group."""
    groups: dict[str, list[Setting]] = {}
    for key, one in catalog().items():
        groups.setdefault(group_of(key) or "in no group", []).append(one)
    return [Answer(group, [(one.key, line(one)) for one in members], members) for group, members in groups.items()]


def line(one: Setting) -> str:
    """A setting in a line: what it means, and its unit."""
    return one.help + (f" [{one.unit}]" if one.unit else "")


def print_answers(answers: list[Answer], console: Console) -> None:
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
    """Lines of a label and its text; no line is longer than ``width`` unless a single word is.

    A label too long for its ``column``, or any in a narrow terminal, has a line of its own.
    """
    if width is None:
        yield f"  {label:<{column}}{content}" if label else f"  {content}"
        return
    above = bool(label) and (width < NARROW or len(label) + 2 > column)
    if above:
        yield f"  {label}"
    indent = 4 if width < NARROW else column + 2
    first = "  " if not label else " " * indent if above else f"  {label:<{column}}"
    rest = " " * len(first)
    yield from textwrap.wrap(
        content, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def tables() -> Iterator[str]:
    """The tables of the guide's pages settings and metrics, each between its marks."""
    rows = [["key", "meaning", "unit", "default", "TRL", "verl"]]
    for one in catalog().values():
        names = (re.sub(r"[^,\s]+", r"`\g<0>`", text) or "-" for text in (one.trl, one.verl))
        rows.append([f"`{one.key}`", one.help, one.unit, one.default, *names])
    for name, cells in (("settings", rows), ("metrics", metric_rows())):
        yield f"<!-- explain: {name}, as rlnlp explain --tables prints them -->\n"
        head, *body = (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells)
        yield from (head, "|" + "---|" * len(cells[0]), *body)
        yield f"\n<!-- explain: end of {name} -->\n"
