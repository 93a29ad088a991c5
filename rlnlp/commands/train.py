"""Checked settings into a training run, a new or a resumed one."""

from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import Any

from rlnlp import STARTED
from rlnlp.commands.default_terms import left_out
from rlnlp.commands.preflight import checked_config
from rlnlp.commands.processes import check_processes
from rlnlp.config.description import left_out_lines


def run_training(
    settings: Any, directory: Path, command: str, hidden: Collection[str], started: float = STARTED
) -> None:
    """Check ``settings`` and train in ``directory``; the values of the keys ``hidden`` are not written down.

    ``started`` is when the command began, on the monotonic clock.

    Raises:
        Failure: whatever the user can fix; what can be told without training leaves no directory.
    """
    config = checked_config(settings)
    check_processes(config)
    from rlnlp.run.live import display

    with display().waiting("loading torch"):
        check_device(config)
        from rlnlp.run.following import running

    with running(directory, config, command, hidden=hidden, started=started) as run:
        if left := left_out(settings, config):
            run.facts["left_out"] = left
            for line in left_out_lines(left):
                run.log_message(line)
        train(config, run)


def check_device(config: Any) -> None:
    """Ask torch for the device of the settings; the CPU needs no question.

    Raises:
        Failure: exit 2, if it is not there.
    """
    if config.device.name not in ("auto", "cpu"):
        from rlnlp.device import find_device

        find_device(config.device.name)


def train(config: Any, run: Any) -> None:
    """The algorithm that the settings name, in the directory of ``run``."""
    with run.display.waiting("loading the algorithm"):
        module = import_module(f"rlnlp.algos.{config.algo.name.replace('-', '_')}")
    module.main(config, run)
