"""Train language models with reinforcement learning from the shell; or from Python.

``rlnlp.train(["algo=ppo"])`` trains as the command does and returns a ``TrainedRun``; ``rlnlp.load(RUN)`` returns its
policy, which generates. What the user can fix is raised as ``rlnlp.errors.Failure``.
"""

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlnlp.api import load, train

__all__ = ["load", "train"]
__version__ = "0.2.0"
STARTED = time.monotonic()  # when the process began its work, for the seconds that a run reports


def __getattr__(name: str) -> Any:
    """``train`` and ``load``, imported when they are asked for: the command must not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("rlnlp.api"), name)


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, "__version__"]
