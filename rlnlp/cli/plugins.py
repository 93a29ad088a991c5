"""Launchers and sweepers of Hydra's that are packages of their own: what to install, and how they must be set."""

from importlib.util import find_spec
from typing import Any

from rlnlp.errors import Exit, Failure

PLUGINS = {  # the choice of a group: the module that it needs, and the extra that brings it
    ("hydra/launcher", "joblib"): ("hydra_joblib_launcher", "joblib"),
    ("hydra/launcher", "submitit_local"): ("hydra_submitit_launcher", "submitit"),
    ("hydra/launcher", "submitit_slurm"): ("hydra_submitit_launcher", "submitit"),
    ("hydra/launcher", "ray"): ("hydra_ray_launcher", "ray"),
    ("hydra/sweeper", "optuna"): ("hydra_optuna_sweeper", "optuna"),
}
OURS = {  # what a choice needs here beside its own values: more is better, and a job that fails ends no other
    "hydra/sweeper=optuna": ("hydra.sweeper.direction=maximize", "hydra.sweeper.max_failure_rate=1.0"),
}


def check_plugins(words: list[str]) -> None:
    """Check that the plugins that are chosen by ``words`` are installed.

    Raises:
        Failure: exit 2, with what to install.
    """
    for word in words:
        group, _, name = word.partition("=")
        if (needed := PLUGINS.get((group, name))) and not _installed(needed[0]):
            raise Failure(
                Exit.CONFIG, f"{word} needs a plugin of Hydra's\ninstall it: pip install 'rlnlp[{needed[1]}]'"
            )


def with_ours(words: list[str]) -> list[str]:
    """``words`` behind those that the plugins among them need here; what is typed comes later, and wins."""
    return [*(ours for word in words for ours in OURS.get(word, ())), *words]


def check_direction(sweeper: Any) -> None:
    """Check that a sweeper that optimizes looks for the best: of what a job returns, more is better.

    Raises:
        Failure: exit 2.
    """
    direction = sweeper.direction if "direction" in sweeper else "maximize"
    if str(direction).rpartition(".")[2] != "maximize":
        raise Failure(
            Exit.CONFIG, f"hydra.sweeper.direction is {direction}, and would look for the worst: of what a job returns"
            " (a score, a win rate, an accuracy, minus a loss) more is better\nset hydra.sweeper.direction=maximize",
        )  # fmt: skip


def _installed(module: str) -> bool:
    try:
        return find_spec(f"hydra_plugins.{module}") is not None
    except ModuleNotFoundError:  # no plugin at all
        return False
