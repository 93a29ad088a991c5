"""A process that calls the user's functions: ``python -m rlnlp.rewards.worker FD``. It ends with its parent."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from rlnlp.errors import Failure
from rlnlp.rewards.call import call_function, parameters_of
from rlnlp.rewards.user import Loader
from rlnlp.rewards.values import Values
from rlnlp.rewards.workers import Failed, Loaded, Request, Setup

Functions = Mapping[str, Callable[..., Any]]


def main(descriptor: int) -> None:
    """Answer requests until the parent closes the connection."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with Connection(descriptor) as connection:
        setup: Setup = connection.recv()
        sys.path[:] = setup.path
        found = _answer(partial(_load, setup))
        if isinstance(found, Failed):
            connection.send(found)
            return
        functions, loaded = found
        connection.send(loaded)
        while True:
            try:
                request: Request = connection.recv()
            except EOFError:
                return
            connection.send(_answer(partial(_call, functions, request)))
            _compute_alike(setup)


def _end_with_parent() -> None:
    """Standard input ends when the parent does, however it does; what this process has started ends with it."""
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


def _answer(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Failure as failure:
        return Failed(failure.code, str(failure), "".join(traceback.format_exception(failure)))


def _load(setup: Setup) -> tuple[Functions, Loaded]:
    loader = Loader()
    found = {name: loader.function(name, path) for name, path in setup.paths.items()}
    _compute_alike(setup)
    loaded = Loaded({name: (parameters_of(name, fn), sha256) for name, (fn, sha256) in found.items()})
    return {name: fn for name, (fn, _) in found.items()}, loaded


def _compute_alike(setup: Setup) -> None:
    """Let torch, if a function uses it, compute as in the run's own process, to the same bits."""
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.set_num_threads(setup.threads)
        torch.set_float32_matmul_precision(setup.precision)


def _call(functions: Functions, request: Request) -> Values:
    return call_function(request.name, functions[request.name], request.batch, request.args)


if __name__ == "__main__":
    main(int(sys.argv[1]))
