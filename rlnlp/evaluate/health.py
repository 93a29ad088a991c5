"""Watches the metrics of a run: warns when a finding begins, says when it is over, and knows what holds at the end."""

from collections import deque
from collections.abc import Callable
from typing import Any

from rlnlp.config.schema import OnPolicyRun, RlhfRun
from rlnlp.evaluate.advice import settings_of
from rlnlp.evaluate.findings import TITLES, Row, early_findings, findings

WINDOW = 10  # steps over which a metric is averaged before it is compared with its healthy range
RENAMED = {"score_deviation": "score_std"}  # in checkpoints of version 0.1


class Health:
    """Called with the metrics of each step.

    In the first ``WINDOW`` steps the newer half of them is judged, by those findings that need no long trend. A finding
    is over when it has been absent for ``WINDOW`` steps in a row.
    """

    def __init__(self, log_message: Callable[[str], None], config: OnPolicyRun | RlhfRun) -> None:
        self.log_message = log_message
        self.highest = config.reward.highest if isinstance(config, OnPolicyRun) else None  # a reward model has no most
        self.settings = settings_of(config)
        self.recent: deque[Row] = deque(maxlen=WINDOW)
        self.first: Row = {}  # the first value of each metric
        self.current: dict[str, str] = {}
        self.warned: list[str] = []  # what was warned of and is not over
        self.absent: dict[str, int] = {}  # for so many steps: of what was warned of

    def __call__(self, row: Row) -> None:
        """Add the metrics of a step."""
        self.first = {**row, **self.first}  # of each metric: while only the critic learns there is no entropy
        self.recent.append(row)
        judge = findings if len(self.recent) == WINDOW else early_findings
        rows = list(self.recent) if len(self.recent) == WINDOW else list(self.recent)[len(self.recent) // 2 :]
        names = set.intersection(*(set(row) for row in rows))
        mean = {name: sum(row[name] for row in rows) / len(rows) for name in names}
        self.current = dict(judge(mean, self.first, self.settings, self.highest))
        for name in [name for name in self.current if name not in self.warned]:
            self.log_message(f"warning: {self.current[name]}")
            self.warned.append(name)
        self.absent = {name: self.absent.get(name, 0) + 1 for name in self.warned if name not in self.current}
        for name in [name for name, steps in self.absent.items() if steps >= WINDOW]:
            self.log_message(f"no longer: {TITLES[name]}")
            self.warned.remove(name)

    def verdict(self) -> dict[str, str]:
        """The findings that held at the end, by name."""
        return dict(self.current)

    def state_dict(self) -> dict[str, Any]:
        """The state, as JSON."""
        return {  # the keys are those of version 0.1
            "first": dict(self.first),
            "recent": [dict(row) for row in self.recent],
            "now": self.current,
            "told": self.warned,
            "absent": self.absent,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.first, self.current = _renamed(state["first"]), state["now"]
        self.warned = [name for name in state["told"] if name in TITLES]
        self.absent = {name: 0 for name in self.warned if name not in self.current} | state.get("absent", {})
        self.recent = deque(map(_renamed, state["recent"]), maxlen=WINDOW)


def _renamed(row: Row) -> dict[str, float]:
    return {RENAMED.get(name, name): value for name, value in row.items()}
