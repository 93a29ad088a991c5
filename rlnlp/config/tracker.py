"""The settings of trackers, in which the metrics of runs are looked at: no byte of a run depends on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rlnlp.config.setting import Problem, setting

TRACKERS = {"tensorboard": "TensorBoard", "wandb": "W&B", "mlflow": "MLflow"}  # package and extra: as it calls itself
WANDB = "wandb"


@dataclass(frozen=True)
class Tracker:
    """What the metrics are shown in besides; where its servers are, its own environment variables say."""

    name: Literal["none", "tensorboard", "wandb", "mlflow"] = setting(
        "a tracker that gets the metrics too; none for no one", resume="free", trl="report_to", verl="trainer.logger"
    )
    project: str = setting(
        "the project of W&B, or the experiment of MLflow, that the run is kept in",
        resume="free", trl="project", verl="trainer.project_name",
    )  # fmt: skip
    run_name: str | None = setting(
        "what the run is called there; null takes the last two parts of its directory",
        resume="free", trl="run_name", verl="trainer.experiment_name",
    )  # fmt: skip
    offline: bool = setting("send nothing: W&B's files stay in the run directory, for 'wandb sync'", resume="free")

    def problems(self) -> Iterator[Problem]:
        """Names that are none; what only W&B can do."""
        if not self.project.strip():
            yield "project", "must not be empty"
        if self.run_name is not None and not self.run_name.strip():
            yield "run_name", "must not be empty; null takes the name of the run directory"
        if self.offline and self.name != WANDB:
            yield "offline", f"is for tracker.name={WANDB}, got {self.name}"
