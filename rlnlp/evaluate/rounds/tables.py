"""The tables of an RLHF run's report: before and after, and a line for each round."""

from collections.abc import Callable, Iterator, Sequence

from rlnlp.evaluate.page.numbers import interval, number, percent, percents, places, signed
from rlnlp.evaluate.rounds.history import (
    FIRST,
    LAST,
    TERMS,
    Interval,
    Record,
    knowledge_of,
    mean_of,
    reward_before,
    satisfaction_of,
    win_rate_of,
)
from rlnlp.evaluate.summary import Listing, Row

CAPTION = (
    "rounds: % of the decided pairs won vs the first policy and the one before; % of pairs the reward model has right"
)
NOTHING = "–"
MEASURES = {"gold": ("gold reward", 3), "response_tokens": ("response length, tokens", 1)}
Found = tuple[float, Interval | None] | None


def before_after(rounds: Sequence[Record]) -> list[Row]:
    """Rewards, length, satisfaction and KL of the first and the final policy, and what changed."""
    first, last = rounds[0], rounds[-1]
    gains = last.get("gains") or {}
    rows = [*_won(last), *_reward(last)]
    for name, (words, decimals) in MEASURES.items():
        old, new = mean_of(first, name), mean_of(last, name)
        if old is not None and new is not None:
            rows.append(_row(words, old[0], new[0], mean_of(gains, name), decimals))
        rows += _terms(first, last, gains) if name == "gold" else []
    old, new = satisfaction_of(first), satisfaction_of(last)
    if old is not None and new is not None:
        rows.append(_row("satisfaction, 1 to 10", old[0], new[0], None, 1))
    rows += _perplexity(last)
    if (kl := mean_of(last, "kl")) is not None:
        rows.append(("KL", "0.00", number(kl[0], 2), "nats per response from the first policy"))
    return rows


def _won(last: Record) -> Iterator[Row]:
    """The win rate beside one half, that of the first policy against itself."""
    found = win_rate_of(last, FIRST)
    if found is not None:
        value, ends = found
        over_half = None if ends is None else (100 * ends[0] - 50, 100 * ends[1] - 50)
        yield _row("preferred, % of the decided pairs", 50, 100 * value, (100 * value - 50, over_half), 1)


def _reward(last: Record) -> Iterator[Row]:
    """The reward by the last round's model, of both policies."""
    new, old = mean_of(last, "reward"), reward_before(last)
    if new is None:
        return
    if old is None:
        yield "reward by the model", NOTHING, number(new[0]), ""
    else:
        yield _row("reward by the model", old, new[0], mean_of(last["gains"], "reward"), 3)


def _perplexity(last: Record) -> Iterator[Row]:
    """How well texts are still known that were to stay known; the ratio is paired by text."""
    found = last.get("perplexity")
    if found is not None:
        times, *ends = found["ratio"] or (found["now"] / found["first"],)
        difference = f"times {number(times)} {interval(ends) if ends else ''}".rstrip()
        yield (
            f"perplexity of {'held-out ' if found['heldout'] else ''}texts",
            number(found["first"], 2),
            number(found["now"], 2),
            difference,
        )


def _terms(first: Record, last: Record, gains: Record) -> Iterator[Row]:
    """The terms of the gold reward, if it has several."""
    before, after, gained = (record.get(TERMS) or {} for record in (first, last, gains))
    for name in after if len(after) > 1 else ():
        old, new = mean_of(before, name), mean_of(after, name)
        if old is not None and new is not None:
            yield _row(f"  {name}", old[0], new[0], mean_of(gained, name), 3)


def _row(name: str, old: float, new: float, gain: Found, decimals: int) -> Row:
    mean, ends = (new - old, None) if gain is None else gain
    difference = f"{signed(mean, decimals)} {interval(ends, decimals, sign=True)}".rstrip()
    return name, number(old, decimals), number(new, decimals), difference


def rounds_table(rounds: Sequence[Record]) -> Listing:
    """A line for the first policy and for each round; a column without a figure is left out."""
    columns = [(head, [cell(record) for record in rounds]) for head, cell in COLUMNS]
    kept = [(head, cells) for head, cells in columns if set(cells) != {NOTHING}]
    return Listing(CAPTION, [head for head, _ in kept], list(zip(*(cells for _, cells in kept), strict=True)))


def _name(record: Record) -> str:
    return "first" if record["round"] == 0 else f"{record['round']}"


def _judgements(record: Record) -> str:
    return NOTHING if record["round"] == 0 else f"{record['judgements']:,}"


def _win_rate(record: Record, against: str) -> str:
    return NOTHING if against == LAST and record["round"] < 2 else _percent(win_rate_of(record, against))


def _percent(found: Found) -> str:
    if found is None:
        return NOTHING
    value, ends = found
    return f"{percent(value)} {percents(ends)}".rstrip().replace(" %", "")


def _mean(name: str, decimals: int | None = None) -> Callable[[Record], str]:
    def cell(record: Record) -> str:
        found = mean_of(record, name)
        return NOTHING if found is None else number(found[0], places(found[0]) if decimals is None else decimals)

    return cell


def _right(record: Record) -> str:
    """How often the reward model is right, by gold where there is gold, else of judgements that it had not seen."""
    found = knowledge_of(record, "gold") or knowledge_of(record, "new_judgements")
    return NOTHING if found is None else _percent((found[0], None))


def _satisfaction(record: Record) -> str:
    found = satisfaction_of(record)
    return NOTHING if found is None else number(found[0], 1)


COLUMNS: tuple[tuple[str, Callable[[Record], str]], ...] = (
    ("round", _name),
    ("judged", _judgements),
    ("vs first", lambda record: _win_rate(record, FIRST)),
    ("vs before", lambda record: _win_rate(record, LAST)),
    ("model, %", _right),
    ("reward", _mean("reward", 2)),
    ("gold", _mean("gold")),
    ("KL", _mean("kl", 2)),
    ("tokens", _mean("response_tokens", 1)),
    ("rating", _satisfaction),
)
