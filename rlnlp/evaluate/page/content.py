"""The record of an evaluation as a report: what stands in it, in which words and in which order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rlnlp.errors import counted, one_line
from rlnlp.evaluate.page.numbers import SAYS, interval, nats, number, percent, percents, places, row_places, signed
from rlnlp.evaluate.page.parts import BAD, GOOD, PLAIN, Content, Figure, Section, Tile, sentence, with_figures
from rlnlp.evaluate.page.tables import (
    best_of_n_table,
    calibration_tables,
    frontier_table,
    measures_table,
    sampled_prompts,
    samples,
    win_rate_table,
    worst_texts,
)

Record = Mapping[str, Any]
NAME = 60  # characters of a run, a judge or a term that are shown
WORTH = {"better": GOOD, "worse": BAD}


def content(record: Record, figures: Sequence[Figure], of_training: Sequence[Section] = ()) -> Content:
    """The report of ``record``; what it lacks is left out. The sections ``of_training`` stand before its curves."""
    built = [section for make in SECTIONS for section in (*(of_training if make is training else ()), make(record))]
    return Content(
        title=one_line(record.get("title") or f"Evaluation of {record['run']}", 200),
        subtitle=subtitle(record),
        verdict=verdict_sentence(record),
        tone=WORTH.get(record.get("verdict", ""), PLAIN),
        tiles=list(tiles(record)),
        notes=[sentence(note) for note in record.get("notes", [])],
        sections=[shown for section in built if (shown := with_figures(section, figures)) is not None],
    )


def verdict_sentence(record: Record) -> str:
    """What came of it, in one plain sentence; empty where no score was compared."""
    main, word = record.get("score") or record.get("loss"), record.get("verdict")
    if main is None or word is None:
        return ""
    what = "mean score" if record.get("score") else "mean loss on these texts"
    decimals, other = row_places(main), side(record)
    ends = interval(main["difference_interval"], decimals, sign=True)
    known = f" ({SAYS} {ends})" if ends else ""
    new, old = number(main["after"], decimals), number(main["before"], decimals)
    if word == "no difference shown":
        change = signed(main["difference"], decimals)
        return (
            f"No difference shown: the {what} of the trained policy is {new}, that of {other} {old}; a difference"
            f" of {change}{known} may be chance."
        )
    size = number(abs(main["difference"]), decimals)
    where = "above" if main["difference"] > 0 else "below"
    return f"The trained policy is {word}: its {what} is {new}, {size} {where} the {old} of {other}{known}."


def side(record: Record) -> str:
    """What the trained policy is compared with, in words."""
    against = one_line(record["against"], NAME)
    return "the reference texts" if against == "references" else against


def subtitle(record: Record) -> str:
    """On what the comparison rests."""
    prompts = counted(record["prompts"], "text" if record.get("loss") else "prompt")
    each = f", {counted(record['samples'], 'response')} to each" if record.get("measures") else ""
    return f"{one_line(record['run'], 200)} against {side(record)}: {prompts}{each}"


def tiles(record: Record) -> Iterator[Tile]:
    """The figures that are to be seen first."""
    for name, label in (("score", "mean score"), ("loss", "loss, nats per token")):
        if row := record.get(name):
            decimals = row_places(row)
            change = f"{signed(row['difference'], decimals)} {interval(row['difference_interval'], decimals, True)}"
            yield Tile(label, f"{number(row['before'], decimals)} → {number(row['after'], decimals)}", change.strip())
    if perplexity := record.get("perplexity"):
        yield Tile("perplexity", f"{perplexity['before']:.2f} → {perplexity['after']:.2f}", "of a token, exp(loss)")
    if record.get("win_rate") is not None:
        yield Tile("win rate", percent(record["win_rate"]), percents(record["win_rate_interval"]) or "ties count half")
    if record.get("kl") is not None:
        ends = interval(record.get("kl_interval"), nats(record["kl"]))
        yield Tile("KL", number(record["kl"], nats(record["kl"])), f"{ends} nats per response".strip())
    seen, what = record.get("seen_in_training"), "text" if record.get("loss") else "prompt"
    notes = [counted(record["n"], "response")] if record.get("measures") else []
    notes += [f"{counted(seen, what) if seen else f'no {what}'} seen in training"] if seen is not None else []
    yield Tile(f"{what}s", f"{record['prompts']:,}", ", ".join(notes))


def changes(record: Record) -> Section:
    """Every measure before and after."""
    table = measures_table(record, side(record), NAME)
    how = [
        "Before and after are means over the prompts of each prompt's mean; the difference is after minus before. Its"
        f" {SAYS} is of prompts drawn anew (BCa bootstrap), because the responses to one prompt are not independent.",
        "p is the probability of a difference at least as large if both sides were alike, by flipping the signs of the"
        " prompts' differences. For the reward's terms it is corrected for their number (Holm).",
    ]
    return Section("changes", "What changed", tables=[table] if table else [], method=how)


def win_rates(record: Record) -> Section:
    """How often the trained policy's response is the better one."""
    table = win_rate_table(record, NAME)
    how = [
        "How often the trained policy's response to a prompt scores higher than the other side's, ties counted half."
        " Responses that were drawn with the same random numbers are not paired with each other.",
        "Length-controlled: the win rate that is left if the effect of length is taken out, as in AlpacaEval 2 but"
        " without its term for how hard each prompt is.",
    ]
    return Section("wins", "How often it wins", tables=[table] if table else [], method=how)


def calibration(record: Record) -> Section:
    """How often the judges agree with the reward."""
    how = [
        "Pairs of responses in groups of one size, by how far apart the run's reward puts them: how often the judge"
        " prefers the same one, ties counted half. A reward that the judge confirms is agreed with more often the wider"
        " the gap. Near 50 % the judge knows nothing of what the reward sees."
    ]
    tables = calibration_tables(record, NAME)
    return Section("calibration", "Does the judge agree with the reward?", tables=tables, method=how)


def frontier(record: Record) -> Section:
    """Score against KL, beside the best of n."""
    tables = [table for table in (frontier_table(record), best_of_n_table(record)) if table]
    how = [
        "The farther a policy moves from where it began, the more its score can owe to the faults of the reward. The"
        " best of n samples of the first policy is the plain alternative: no training, n times the sampling."
    ]
    how += ["KL is in nats per response, from the first policy; of the best of n it is the bound log n - (n - 1) / n."]
    how += measured_sentences(record)
    reached = best_of_n_sentence(record)
    return Section("frontier", "Score against KL", [reached] if reached else [], tables, method=how)


def measured_sentences(record: Record) -> list[str]:
    """When the policies that the run kept were measured."""
    kinds = {row.get("measured") for row in record.get("frontier") or []}
    words = {
        "anew": "The policies that the run kept were measured anew, on the prompts of this report.",
        "while training": "The policies on the way are as they were measured while training, so without intervals.",
    }
    return [words[kind] for kind in words if kind in kinds]


def best_of_n_sentence(record: Record) -> str:
    """Which best of n of the first policy scores as high as the trained policy; empty where that is not known."""
    rows, score = record.get("best_of_n") or [], record.get("score")
    if not rows or score is None:
        return ""
    reached = score["after"]
    first = next((row for row in sorted(rows, key=lambda row: row["n"]) if row["score"] >= reached), None)
    decimals = places(reached)
    if first is None:
        most = max(rows, key=lambda row: row["n"])
        return (
            f"The trained policy's score of {number(reached, decimals)} is above the best of {most['n']} samples"
            f" of the first policy, {number(most['score'], decimals)}."
        )
    what = "A single sample" if first["n"] == 1 else f"The best of {first['n']} samples"
    scores = f"{number(first['score'], decimals)}, against {number(reached, decimals)}"
    return f"{what} of the first policy scores at least as high as the trained policy: {scores}."


def regressions(record: Record) -> Section:
    """The prompts that lost most."""
    found = samples(record.get("regressions") or [], NAME)
    return Section("regressions", "Where it got worse", [sampled_prompts("fell")], samples=found)


def unlikelier(record: Record) -> Section:
    """The texts that lost most, of an evaluation that measures texts."""
    found = worst_texts(record.get("worst_texts") or [])
    chosen = "The texts whose loss rose most: the trained policy finds them less likely than before."
    return Section("unlikelier", "Texts that became less likely", [chosen], samples=found)


def improvements(record: Record) -> Section:
    """The prompts that gained most."""
    found = samples(record.get("improvements") or [], NAME)
    return Section("improvements", "Where it got better", [sampled_prompts("rose")], samples=found)


def training(record: Record) -> Section:
    """The curves of the run."""
    return Section("curves", "How training went")


def settings(record: Record) -> Section:
    """What was trained, on what, how."""
    return Section(
        "settings", "Settings of the run", facts=[(k, str(v)) for k, v in record.get("settings", {}).items()]
    )


def not_shown(record: Record) -> Section:
    """What must not be read out of this."""
    return Section(
        "not-shown", "What this does not show", items=[sentence(item) for item in record.get("not_shown", [])]
    )


def again(record: Record) -> Section:
    """The command that makes the same report."""
    return Section("command", "The command that made this report", code=record.get("command") or "")


SECTIONS: tuple[Callable[[Record], Section], ...] = (
    changes, win_rates, calibration, frontier, regressions, unlikelier, improvements, training, settings, not_shown,
    again,
)  # fmt: skip
