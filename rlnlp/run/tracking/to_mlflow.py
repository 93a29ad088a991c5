"""MLflow: the store that MLFLOW_TRACKING_URI names, else MLflow's own default, which ``mlflow ui`` shows."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from rlnlp.run.tracking.tracker import Row, TrackedRun, flat, numbers_of

ID, SWEEP, CHANGED = "rlnlp.id", "rlnlp.sweep", "rlnlp.changed."
EVERY_STEP = "episodes"  # a metric of every step: its last one is the last step that is there
ENDS = {"done": "FINISHED", "failed": "FAILED"}
METRICS, PARAMS, LONGEST = 1000, 100, 500  # in one request; characters of a parameter, in the oldest store
UNKNOWN = re.compile(r"[^\w\-. :/]", re.ASCII)  # what its names may not have


class Mlflow:
    """The run with this id among its tags, a new one or the one that was left."""

    def __init__(self, run: TrackedRun) -> None:
        self._client = MlflowClient()
        experiment = self._experiment(run.project)
        found = self._client.search_runs([experiment], f"tags.`{ID}` = '{run.id}'")
        tags = {ID: run.id, **({SWEEP: run.sweep} if run.sweep else {})}
        opened = found[0] if found else self._client.create_run(experiment, run_name=run.name, tags=tags)
        self._run: str = opened.info.run_id
        self._client.update_run(self._run, status="RUNNING", name=run.name)
        self._log_settings(run.settings, opened.data.params)
        past = self._client.get_metric_history(self._run, EVERY_STEP) if found else []
        self.last_step = max((metric.step for metric in past), default=0)
        self.where = f"run {run.name} of the experiment {run.project} in {self._client.tracking_uri}"

    def log(self, rows: Sequence[Row]) -> None:
        """Log each step whole, as many in a request as it takes."""
        batch: list[Metric] = []
        for row in rows:
            numbers = row.numbers
            if len(batch) + len(numbers) > METRICS:
                self._client.log_batch(self._run, metrics=batch)
                batch = []
            batch += _metrics(numbers, row.step)
        self._client.log_batch(self._run, metrics=batch)
        self.last_step = rows[-1].step

    def end(self, status: str, result: Mapping[str, Any]) -> None:
        """Log the result at the last step, and how the run ended."""
        self._client.log_batch(self._run, metrics=_metrics(numbers_of(result), self.last_step))
        self._client.set_terminated(self._run, ENDS.get(status, "KILLED"))

    def _experiment(self, name: str) -> str:
        """The id of the experiment, which another job of a sweep may be making right now."""
        found = self._client.get_experiment_by_name(name)
        try:
            return str(found.experiment_id if found else self._client.create_experiment(name))
        except MlflowException:
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def _log_settings(self, settings: Mapping[str, Any], known: Mapping[str, str]) -> None:
        """Settings are logged once, as MLflow wants it; what a resume has changed becomes a tag."""
        values = {UNKNOWN.sub("_", key): str(value)[:LONGEST] for key, value in flat(settings).items()}
        new = [Param(key, value) for key, value in values.items() if key not in known]
        for i in range(0, len(new), PARAMS):
            self._client.log_batch(self._run, params=new[i : i + PARAMS])
        tags = [RunTag(CHANGED + key, value) for key, value in values.items() if known.get(key, value) != value]
        self._client.log_batch(self._run, tags=tags)


def _metrics(numbers: Mapping[str, float], step: int) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(UNKNOWN.sub("_", name), value, now, step) for name, value in numbers.items()]


def opened(run: TrackedRun) -> Mlflow:
    """The run in MLflow."""
    return Mlflow(run)
