"""The rounds of an RLHF run as a section of the report of its evaluation."""

from pathlib import Path

from rlnlp.evaluate.curves import read_metrics
from rlnlp.evaluate.page.parts import Cell, Group, Section, Table, sentence
from rlnlp.evaluate.rounds.history import History
from rlnlp.evaluate.rounds.sentences import sentences
from rlnlp.evaluate.rounds.tables import rounds_table
from rlnlp.run.manifest import read_facts

SECTION = "rounds"
HOW = (
    "These figures were measured at the end of each round, on the held-out prompts: other draws than those of this"
    " report. Each round has a reward model of its own, so that its reward is beside that of the first policy by the"
    " same model.",
    "Gains are against the first policy, d is the square root of the KL. The curve is d (alpha - beta log d), fitted by"
    " least squares to the points with d of at least 0.3 (Gao et al. 2022); its peak is named only if the interval of"
    " beta is above 0 and the peak lies within the points.",
)


def stored_history(directory: Path) -> History | None:
    """The rounds of the run in ``directory``; None for a run without any, or one that has not ended."""
    result = read_facts(directory).get("result") or {}
    if not result.get("history"):
        return None
    return History(result["history"], read_metrics(directory), result["over_optimization"])


def rounds_section(history: History) -> Section:
    """What came of each round, in sentences and as a table."""
    listing = rounds_table(history.rounds)
    rows = [[Cell(cell) for cell in row] for row in listing.rows]
    told = [sentence(each) for each in sentences(history.rounds, history.over)]
    tables = [Table(sentence(listing.caption), listing.head, [Group("", rows)])]
    return Section(SECTION, "What came of each round", told, tables, method=HOW)
