"""TensorBoard: event files in the run directory. ``tensorboard --logdir outputs`` shows every run below it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import summary_v2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from rlnlp.errors import shell_word
from rlnlp.run.tracking.tracker import Row, TrackedRun, flat, numbers_of


class TensorBoard:
    """One event file more; readers forget the steps of earlier ones that it begins with again."""

    def __init__(self, run: TrackedRun) -> None:
        self.last_step = min(run.sent, run.saved)
        self.where = f"tensorboard --logdir {shell_word(run.folder.parent)}"
        self._writer = EventFileWriter(str(run.folder))
        start = SessionLog(status=SessionLog.START)
        self._writer.add_event(Event(wall_time=time.time(), step=self.last_step + 1, session_log=start))
        settings = summary_v2.hparams_pb(flat(run.settings), trial_id=run.id)
        self._writer.add_event(Event(wall_time=time.time(), summary=settings))
        self._writer.flush()

    def log(self, rows: Sequence[Row]) -> None:
        """Write each number of each step."""
        for row in rows:
            self._write(row.step, row.numbers)
            self.last_step = row.step
        self._writer.flush()

    def end(self, status: str, result: Mapping[str, Any]) -> None:
        """Write the result at the last step; of how the run ended TensorBoard has no word."""
        self._write(self.last_step, numbers_of(result))
        self._writer.close()

    def _write(self, step: int, numbers: Mapping[str, float]) -> None:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))


def opened(run: TrackedRun) -> TensorBoard:
    """A new event file for the run."""
    return TensorBoard(run)
