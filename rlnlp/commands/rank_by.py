"""Does a reward model put texts of one kind above those of others: ``rlnlp rank RUN --file FILE --by COLUMN=VALUE``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlnlp.commands.ranking import scored, scored_untrained
from rlnlp.config.choices import is_run
from rlnlp.config.parse import nearest
from rlnlp.config.schema import RankRun
from rlnlp.data.candidates import Candidate
from rlnlp.errors import Exit, Failure, counted, one_line
from rlnlp.evaluate.page.numbers import percent, percents
from rlnlp.evaluate.rounds.bars import Compared, draw_before_after
from rlnlp.evaluate.summary import Listing, listing_lines
from rlnlp.maths.accuracy import Estimate
from rlnlp.maths.probability_above import probability_above
from rlnlp.run.live import display

PICTURE = "rank.png"
UNTRAINED, TRAINED = "untrained head", "trained"
EVEN = 0.5


class Kind(NamedTuple):
    """How often the texts that are asked about score higher than the ``texts`` texts with ``label``.

    ``before`` is by the reward model with an untrained head, None where that is not known.
    """

    label: str
    texts: int
    before: Estimate | None
    after: Estimate


def asked_kind(by: str) -> tuple[str, str]:
    """The column and the value that ``--by`` names.

    Raises:
        Failure: exit 2, if it names no value.
    """
    column, equals, value = by.partition("=")
    if not column or not equals:
        raise Failure(Exit.CONFIG, f"--by {one_line(by, 60)}: write COLUMN=VALUE, as in --by category=harmless")
    return column, value


def rank_by(
    path: str, source: str, config: RankRun, candidates: Sequence[Candidate], labels: Sequence[str], by: str
) -> list[Kind]:
    """Each of the other kinds, in the order of the alphabet, by the reward model at ``path``.

    ``labels`` are those of the candidates. If ``source`` is a run, its reward model is compared with what it was before
    it learned anything.

    Raises:
        Failure: exit 2, if no text or every text has the value; and as ``scored``.
    """
    column, value = asked_kind(by)
    if value not in labels:
        known = sorted(set(labels))
        told = f"the texts have {', '.join(one_line(each, 30) for each in known[:8])}"
        raise Failure(
            Exit.CONFIG, f"--by {one_line(by, 60)}: no text has it; {told}{nearest(value, known, column + '=')}"
        )
    if len(set(labels)) == 1:
        raise Failure(Exit.CONFIG, f"--by {one_line(by, 60)}: all texts have it, there is nothing to compare with")
    after = _by_kind(scored(path, config, candidates), labels, value)
    before = _untrained(source, config, candidates)
    first = {} if before is None else _by_kind(before, labels, value)
    return [Kind(label, labels.count(label), first.get(label), found) for label, found in after.items()]


def _untrained(source: str, config: RankRun, candidates: Sequence[Candidate]) -> list[float] | None:
    """The scores of a run's reward model before it learned anything; None without a run, or without its first model."""
    if not is_run(directory := Path(source).expanduser()):
        return None
    try:
        return scored_untrained(directory, config, candidates)
    except Failure as failure:
        display().log_message(f"not compared with the untrained reward model: {one_line(str(failure))}")
        return None


def _by_kind(scores: Sequence[float], labels: Sequence[str], value: str) -> dict[str, Estimate]:
    every = np.array(scores, dtype=np.float64)
    kinds = {label: every[[each == label for each in labels]] for label in sorted(set(labels))}
    own = kinds.pop(value)
    return {label: probability_above(own, of_label) for label, of_label in kinds.items()}


def lines(kinds: Sequence[Kind], by: str, texts: int) -> list[str]:
    """A table of the kinds."""
    column, value = asked_kind(by)
    compared = all(kind.before is not None for kind in kinds)
    caption = f"how often a text of {one_line(value, 40)} ({counted(texts, 'text')}) scores higher than one of"
    head = [column, "texts", *([UNTRAINED] if compared else []), TRAINED if compared else "how often"]
    rows = [
        [kind.label, f"{kind.texts:,}", *([_words(kind.before)] if compared else []), _words(kind.after)]
        for kind in kinds
    ]
    return listing_lines(Listing(caption, head, rows))


def _words(found: Estimate | None) -> str:
    return "" if found is None else f"{percent(found.value)} {percents(found.interval)}"


def records(kinds: Sequence[Kind]) -> list[dict[str, Any]]:
    """The kinds as plain data."""
    return [
        {"label": kind.label, "texts": kind.texts, "before": _record(kind.before), "after": _record(kind.after)}
        for kind in kinds
    ]


def _record(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else {"value": found.value, "interval": list(found.interval)}


def draw(kinds: Sequence[Kind], by: str, directory: Path) -> Path | None:
    """Write ``rank.png`` into the directory of a run; None without what it is compared with.

    Raises:
        OSError: the disk is full, or the directory cannot be written to.
    """
    column, value = asked_kind(by)
    unit = f"probability that {one_line(value, 30)} scores higher"
    figures = [
        Compared(kind.label, kind.before, kind.after, unit, (0.0, 1.0), EVEN)
        for kind in kinds
        if kind.before is not None
    ]
    if not figures:
        return None
    path = directory / PICTURE
    title = f"{one_line(value, 30)} against each other {one_line(column, 30)}"
    draw_before_after(figures, title, path, (UNTRAINED, TRAINED))
    return path
