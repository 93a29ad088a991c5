"""``rlnlp`` in a notebook or a script: train as the command does, and load what was trained."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnlp import build
from rlnlp.cli.hydra_app import compose
from rlnlp.cli.job import from_environment, plain
from rlnlp.cli.streams import lasting_streams
from rlnlp.commands.generate import config_of
from rlnlp.commands.train import run_training
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.rollout.generate import LoadedPolicy
from rlnlp.run.manifest import read_facts


@dataclass(frozen=True)
class TrainedRun:
    """A finished run.

    Attributes:
        directory: the run directory, with ``policy/``, ``curves.png`` and the rest.
        result: held-out figures before and after, as in ``run.json``.
        metrics: a record for each step, as in ``metrics.jsonl``: ``pandas.DataFrame(run.metrics)`` is a table of them.
    """

    directory: Path
    result: dict[str, Any]
    metrics: list[dict[str, float]]


def train(settings: Sequence[str] = (), directory: str | Path | None = None) -> TrainedRun:
    """Train as ``rlnlp train`` does with the same words, and return what came of it.

    The progress is printed to stderr and the report to stdout, as by the command.

    Args:
        settings: such as ``["algo=ppo", "algo.learning_rate=1e-4"]``. Flags are for the command; a sweep is a loop.
        directory: the run directory; None makes one below ``outputs/``.

    Raises:
        rlnlp.errors.Failure: what the user can fix, with the ``code`` that the command would exit with: 2 for a wrong
            setting, 130 for a run that was interrupted, which ``rlnlp resume`` continues.
    """
    started = time.monotonic()
    composed, folder = compose(_settings(settings))
    folder = folder if directory is None else Path(directory).expanduser()
    with lasting_streams():
        run_training(plain(composed), folder, "train", from_environment(composed), started)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return TrainedRun(folder, read_facts(folder)["result"], [json.loads(line) for line in lines])


def load(source: str | Path, settings: Sequence[str] = ()) -> LoadedPolicy:
    """The policy of a run, or any causal language model.

    Args:
        source: a run directory, a model directory, a hub id, or ``embedded``.
        settings: such as ``["sampler.temperature=0.7", "device=cpu"]``, as for ``rlnlp generate``.

    Raises:
        rlnlp.errors.Failure: a wrong setting (its ``code`` is 2) or model (4), or a run that has not finished (6).
    """
    return build.loaded_policy(config_of(str(source), _settings(settings)))


def _settings(words: Sequence[str]) -> list[str]:
    for word in words:
        if "=" not in word or word.startswith("-"):
            raise Failure(Exit.CONFIG, f"'{one_line(word, 60)}' is no setting: want key=value")
    return list(words)
