"""Checked settings into a training run, a new or a resumed one."""

from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from rlnlp.config.measuring import with_measurements
from rlnlp.config.parse import nearest, parse
from rlnlp.config.schema import RUNS
from rlnlp.errors import Exit, Failure
from rlnlp.models.locate import locate


def parse_run_config(settings: Any) -> Any:
    """The settings of a run as its algorithm's schema; what they leave open is decided.

    Raises:
        Failure: exit 2, for an algorithm that does not exist and for every wrong setting.
    """
    name = settings.get("algo", {}).get("name") if isinstance(settings, Mapping) else None
    if not isinstance(name, str) or name not in RUNS:
        raise Failure(
            Exit.CONFIG, f"no algorithm {name!r}{nearest(str(name), list(RUNS))}; choose from: {', '.join(RUNS)}"
        )
    return with_measurements(parse(RUNS[name], settings))


def run_training(settings: Any, directory: Path, command: str, hidden: Collection[str]) -> None:
    """Check ``settings`` and train in ``directory``; the values of the keys ``hidden`` are not written down.

    Raises:
        Failure: whatever the user can fix.
    """
    config = parse_run_config(settings)
    locate(config.model)  # a model that does not exist is reported before torch takes its seconds
    from rlnlp.run.run import Run

    with Run(directory, config, command, hidden=hidden) as run:
        train(config, run)


def train(config: Any, run: Any) -> None:
    """The algorithm that the settings name, in the directory of ``run``."""
    import_module(f"rlnlp.algos.{config.algo.name.replace('-', '_')}").main(config, run)
