"""The tables and samples of a report, from the record of an evaluation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlnlp.errors import one_line
from rlnlp.evaluate.page.numbers import (
    SAYS,
    interval,
    nats,
    number,
    p_value,
    percent,
    percents,
    places,
    row_places,
    signed,
)
from rlnlp.evaluate.page.parts import BAD, GOOD, PLAIN, Cell, Group, Sample, Table

Record = Mapping[str, Any]
MEASURES = {
    "distinct_1": "distinct-1", "distinct_2": "distinct-2", "rouge_l": "ROUGE-L", "ended": "ended by itself",
}  # fmt: skip
MAIN = {"score": 1, "loss": -1}  # what an evaluation is about, and which way is better
LONGEST = 4000  # characters of a prompt or a response that are shown


def measures_table(record: Record, other: str, name: int) -> Table | None:
    """Before, after, difference and p of every measure; None if nothing was compared."""
    main = [(name, record[name], better) for name, better in MAIN.items() if record.get(name)]
    kl = [kl_row(record)] if record.get("kl") is not None else []
    groups = [
        Group("", [difference_row(label, row, better, record["prompts"], name) for label, row, better in main]),
        Group("terms of the reward", list(rows_of(record, "terms", 1, name))),
        Group("judges that training did not see", list(rows_of(record, "judges", 1, name))),
        Group("the responses", [*rows_of(record, "measures", 0, name), *kl]),
    ]
    head = ("", "before", "after", f"difference [{SAYS}]", "p")
    kept = [group for group in groups if group.rows]
    return Table(f"Before: {other}. After: the trained policy.", head, kept) if kept else None


def rows_of(record: Record, key: str, better: int, name: int) -> Iterator[list[Cell]]:
    """The rows of a group of measures."""
    for label, row in (record.get(key) or {}).items():
        yield difference_row(MEASURES.get(label, label), row, better, record["prompts"], name)


def difference_row(label: str, row: Record, better: int, prompts: int, name: int) -> list[Cell]:
    """A measure: its name, before, after, the difference with its interval, p.

    ``better`` is 1 where higher is better, -1 where lower is, 0 where neither is.
    """
    decimals, ends = row_places(row), row["difference_interval"]
    shown = ends is not None and not ends[0] <= 0 <= ends[1]
    tone = (GOOD if row["difference"] * better > 0 else BAD) if shown and better else PLAIN
    few = f"of {row['n']:,} prompts" if row.get("n", prompts) != prompts else ""
    about = ", ".join(filter(None, [row.get("unit") or "", few]))
    p = row["p_holm"] if row.get("p_holm") is not None else row.get("p")
    return [
        Cell(one_line(label, name), about),
        Cell(number(row["before"], decimals)),
        Cell(number(row["after"], decimals)),
        Cell(signed(row["difference"], decimals), interval(ends, decimals, sign=True), tone),
        Cell(p_value(p)),
    ]


def kl_row(record: Record) -> list[Cell]:
    """The KL of the trained policy; nothing is tested of it."""
    decimals = nats(record["kl"])
    after = Cell(number(record["kl"], decimals), interval(record.get("kl_interval"), decimals))
    return [Cell("KL", "nats per response, from the first policy"), Cell("–"), after, Cell("–"), Cell("–")]


def win_rate_table(record: Record, name: int) -> Table | None:
    """Win rates by the score and by each judge; None if there are none."""
    rows = [win_rate_row(label, row, name) for label, row in (record.get("win_rates") or {}).items()]
    head = ("by", f"win rate [{SAYS}]", "length-controlled")
    return Table("Win rates of the trained policy", head, [Group("", rows)]) if rows else None


def win_rate_row(label: str, row: Record, name: int) -> list[Cell]:
    """Raw and length-controlled, the latter with the reason where it is not shown."""
    controlled, ends = row.get("length_controlled"), row["win_rate_interval"]
    shown = ends is not None and not ends[0] <= 0.5 <= ends[1]
    tone = (GOOD if row["win_rate"] > 0.5 else BAD) if shown else PLAIN
    without = f"not shown: {one_line(row.get('length_controlled_reason') or 'it was not computed', 200)}"
    return [
        Cell(one_line(label, name), f"{percent(row['ties'])} ties" if (row.get("ties") or 0) >= 0.005 else ""),
        Cell(percent(row["win_rate"]), percents(ends), tone),
        Cell(percent(controlled["win_rate"]), percents(controlled["interval"])) if controlled else Cell("–", without),
    ]


def calibration_tables(record: Record, name: int) -> list[Table]:
    """For each judge: how often it agrees with the reward, by the gap of the score."""
    head = ("gap of the score, about", f"the judge agrees [{SAYS}]", "pairs")
    tables = []
    for judge, rows in (record.get("calibration") or {}).items():
        made = [
            [
                Cell(number(row["gap"], places(row["gap"]))),
                Cell(percent(row["agreement"]), percents(row["interval"])),
                Cell(number(row["pairs"], 0)),
            ]
            for row in rows
        ]
        tables += [Table(f"Judge: {one_line(judge, name)}", head, [Group("", made)])] if made else []
    return tables


def frontier_table(record: Record) -> Table | None:
    """Score and KL of the policies that the run kept; None if there are none."""
    rows = record.get("frontier") or []
    made = [
        [
            Cell(f"step {row['step']:,}"),
            Cell(number(row["kl"], nats(row["kl"])), interval(row.get("kl_interval"), nats(row["kl"]))),
            Cell(number(row["score"], places(row["score"])), interval(row.get("interval"), places(row["score"]))),
        ]
        for row in rows
    ]
    head = ("policy", "KL, nats", f"score [{SAYS}]")
    return Table("Policies that the run kept", head, [Group("", made)]) if made else None


def best_of_n_table(record: Record) -> Table | None:
    """The best of n samples of the first policy, with what the judges say of it; None if it was not measured."""
    rows = record.get("best_of_n") or []
    judges = list(rows[0].get("judges") or {}) if rows else []
    made = [
        [
            Cell(f"best of {row['n']:,}"),
            Cell(number(row["kl"], 2), "at most"),
            Cell(number(row["score"], places(row["score"])), interval(row.get("interval"), places(row["score"]))),
            *(Cell(number((row.get("judges") or {}).get(judge))) for judge in judges),
        ]
        for row in rows
    ]
    head = ("samples", "KL, nats", f"score [{SAYS}]", *(one_line(judge, 30) for judge in judges))
    return Table("Best of n samples of the first policy", head, [Group("", made)]) if made else None


def sampled_prompts(word: str) -> str:
    """What the prompts that are shown were chosen by."""
    return f"The prompts whose mean score {word} most, each with the pair of its responses for which it {word} most."


def samples(rows: Sequence[Record], name: int) -> list[Sample]:
    """Prompts with both responses and their scores."""
    return [sample(row, name) for row in rows]


def sample(row: Record, name: int) -> Sample:
    """One prompt."""
    whole = {"score": row["score"]} if row.get("score") else {}
    scores = [score_row(label, pair, name) for label, pair in {**whole, **(row.get("terms") or {})}.items()]
    change = row["difference"]
    return Sample(
        f"{signed(change, places(change))} on average over this prompt",
        GOOD if change > 0 else BAD,
        cut(row["prompt"]),
        (("before", cut(row["before"])), ("after", cut(row["after"]))),
        Table("Scores of these two responses", ("", "before", "after", "difference"), [Group("", scores)]),
    )


def worst_texts(rows: Sequence[Record]) -> list[Sample]:
    """Texts with their loss before and after."""
    return [
        Sample(
            f"{signed(row['difference'])} nats per token",
            BAD if row["difference"] > 0 else GOOD,
            cut(row["prompt"]),
            (("text", cut(row["completion"])),),
            Table(
                "Loss of this text", ("", "before", "after", "difference"), [Group("", [score_row("loss", row, 10)])]
            ),
        )
        for row in rows
    ]


def score_row(label: str, pair: Mapping[str, Any], name: int) -> list[Cell]:
    """A score of two responses; a dash where the reward has no say on one."""
    old, new = pair["before"], pair["after"]
    decimals = places(old, new)
    change = None if old is None or new is None else new - old
    return [
        Cell(one_line(label, name)),
        *(Cell(number(x, decimals)) for x in (old, new)),
        Cell(signed(change, decimals)),
    ]


def cut(text: str) -> str:
    """``text``, at most so long as one reads."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text) - LONGEST:,} more characters)"
