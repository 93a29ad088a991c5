"""W&B: online as its own environment variables say (WANDB_MODE, WANDB_BASE_URL ...), or files for ``wandb sync``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb

from rlnlp.errors import shell_word
from rlnlp.run.tracking.tracker import Row, TrackedRun

GOOD = "done"  # the status of a run that has ended well; W&B shows others as failed


class Wandb:
    """The run of this id, a new one or the one that was left."""

    def __init__(self, run: TrackedRun) -> None:
        settings = wandb.Settings(console="off", silent=True, reinit="finish_previous")
        self._run = wandb.init(
            project=run.project, name=run.name, id=run.id, group=run.sweep or None, dir=str(run.folder),
            config=dict(run.settings), mode="offline" if run.offline else None, resume="allow", settings=settings,
        )  # fmt: skip
        self.last_step = max(run.sent, self._run.step - 1)
        stored = f"wandb sync {shell_word(run.folder / 'wandb' / Path(self._run.dir).parent.name)}"
        self.where = stored if self._run.offline else self._run.url or "WANDB_MODE says that nothing is kept"

    def log(self, rows: Sequence[Row]) -> None:
        """Log each step whole; W&B sends it from a process of its own."""
        for row in rows:
            self._run.log(dict(row.values), step=row.step, commit=True)
            self.last_step = row.step

    def end(self, status: str, result: Mapping[str, Any]) -> None:
        """Put the result into the summary, and wait until everything is sent or on the disk."""
        self._run.summary.update({"result": dict(result)})
        self._run.finish(exit_code=int(status != GOOD))


def opened(run: TrackedRun) -> Wandb:
    """The run in W&B."""
    return Wandb(run)
