"""The audit of a feedback set as people read it: a table, agreement, and what should be looked into."""

from collections.abc import Sequence

from rlnlp.errors import counted, one_line
from rlnlp.feedback.audit import WORDS_A_MINUTE, Record

NAME = 20  # characters of an annotator's name
FEW = 20  # of fewer nothing is concluded
FAST = 0.1  # fraction of answers that are too fast
UNLIKE = 0.667  # alpha below which Krippendorff (2004, page 241) draws no conclusion


def audit_lines(record: Record) -> list[str]:
    """The lines."""
    people = record["annotators"]
    if not people:
        return ["nothing has been judged yet"]
    lines = [f"{counted(record['judgements'], 'judgement')}, {counted(record['comparisons'], 'comparison')} among them,"
             f" by {counted(len(people), 'annotator')}", ""]  # fmt: skip
    return [*lines, *_table(people), "", *_agreement(record), *findings(record)]


def findings(record: Record) -> list[str]:
    """What should be looked into, a sentence each: what the interval of a fraction says, not the fraction alone."""
    found = []
    for person in record["annotators"]:
        name = one_line(person["name"], NAME)
        first, fast, same = person["first_shown"], person["too_fast"], person["consistent"]
        if first["of"] >= FEW and not first["interval"][0] <= 0.5 <= first["interval"][1]:
            side = "first" if first["value"] > 0.5 else "second"
            found.append(f"{name} leans to the response shown {side}: {fraction_text(first)} for the first")
        if fast["of"] >= FEW and fast["interval"][0] > FAST:
            words = f"{WORDS_A_MINUTE:,} words a minute"
            found.append(f"{name} answers faster than {words} can be read: {fraction_text(fast)}")
        if same["of"] >= FEW and same["interval"][1] < 0.8:
            found.append(f"{name} often says something else when asked again: {fraction_text(same)} the same")
    alpha = record["krippendorff"]
    if alpha and alpha["interval"] and alpha["interval"][1] < UNLIKE:
        found.append("the annotators do not agree well enough for firm conclusions (alpha below .667): are the"
                     " instructions clear, or do tastes differ?")  # fmt: skip
    return ["", "to look into:", *(f"- {text}" for text in found)] if found else []


def fraction_text(fraction: Record) -> str:
    """A fraction with its interval and count."""
    if not fraction["of"]:
        return "-"
    low, high = fraction["interval"]
    return f"{100 * fraction['value']:.0f} % [{100 * low:.0f}, {100 * high:.0f}] of {fraction['of']:,}"


def _table(people: Sequence[Record]) -> list[str]:
    heads = ("annotator", "judged", "skipped", "ties", "first shown", "same again", "too fast", "seconds", "as others")
    rows = [
        (
            one_line(one["name"], NAME), f"{one['comparisons'] + one['ratings']:,}", f"{one['skipped']:,}",
            *(fraction_text(one[key]) for key in ("ties", "first_shown", "consistent", "too_fast")),
            "-" if one["seconds"] is None else f"{one['seconds']:.1f}", fraction_text(one["agrees"]),
        )
        for one in people
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (heads, *rows)]  # fmt: skip


def _agreement(record: Record) -> list[str]:
    if record["krippendorff"] is None:
        return ["no item was judged by two annotators: their agreement is not known (annotator.overlap=2)"]
    alpha, kappa = record["krippendorff"], record["fleiss"]
    lines = [
        f"Krippendorff's alpha {_beyond(alpha)}, {counted(alpha['items'], 'item')} with two answers or more",
        f"Fleiss' kappa        {_beyond(kappa)}, {counted(kappa['items'], 'item')} with {kappa['raters']} answers",
    ]
    for pair in record["pairs"]:
        one, two = (one_line(name, NAME) for name in pair["annotators"])
        lines.append(
            f"{one} and {two}: agree in {fraction_text(pair['agrees'])}, Cohen's kappa {_beyond(pair['kappa'])}"
        )
    return lines


def _beyond(value: Record) -> str:
    if value["value"] is None:
        return "not known (all is one answer)"
    low, high = value["interval"] or (None, None)
    return f"{value['value']:.2f}" + ("" if low is None else f" [{low:.2f}, {high:.2f}]")
