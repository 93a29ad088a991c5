"""What a function of the user's finds and leaves in the process, kept apart from what training finds there.

A function, and the file that it is in, may set torch's default type, change the folder, seed random numbers. It finds
its own settings again in the next call; training never sees them. Nothing here imports torch.
"""

import gc
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGUSR1", "SIGUSR2")
           if hasattr(signal, name)]  # fmt: skip


@dataclass(frozen=True)
class State:
    """Something that a process has one of: how it is read, and how it is put back."""

    get: Callable[[], Any]
    put: Callable[[Any], object]
    comparable: bool = True  # what is the same already is not put again
    theirs: bool = True  # a function that has changed it finds that again


def _folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # removed meanwhile
        return None


def _put_folder(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _put_environment(wanted: dict[str, str]) -> None:
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    os.environ.update({name: value for name, value in wanted.items() if os.environ.get(name) != value})


def _put_path(wanted: list[str]) -> None:
    sys.path[:] = wanted


def _put_filters(wanted: list[Any]) -> None:
    warnings.resetwarnings()  # also makes Python forget which warnings it has shown
    warnings.filters[:] = wanted  # type: ignore[index]


def _attributes(module: Any, *names: str) -> dict[str, State]:
    """Plain attributes of a module, which are only put back: what is shown depends on them."""

    def one(name: str) -> State:
        return State(lambda: vars(module)[name], lambda value: setattr(module, name, value), theirs=False)

    return {f"{module.__name__}.{name}": one(name) for name in names}


PYTHON = {
    "folder": State(_folder, _put_folder),
    "environment": State(lambda: dict(os.environ), _put_environment),
    "warnings": State(lambda: list(warnings.filters), _put_filters),
    "path": State(lambda: list(sys.path), _put_path),
    "recursion": State(sys.getrecursionlimit, sys.setrecursionlimit),
    "collecting": State(gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    "random": State(random.getstate, random.setstate),
    **_attributes(sys, "stdout", "stderr", "excepthook"),
}


def _numpy(numpy: Any) -> dict[str, State]:
    return {
        "numpy.random": State(numpy.random.get_state, numpy.random.set_state, comparable=False),
        "numpy.errors": State(numpy.geterr, lambda errors: numpy.seterr(**errors)),
    }


def _torch(torch: Any) -> dict[str, State]:
    cudnn = torch.backends.cudnn

    def deterministic() -> tuple[bool, bool]:
        return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()

    found = {
        "torch.dtype": State(torch.get_default_dtype, torch.set_default_dtype),
        "torch.device": State(
            lambda: str(torch.get_default_device()),
            lambda name: torch.set_default_device(None if name == "cpu" else name),
        ),
        "torch.gradient": State(torch.is_grad_enabled, torch.set_grad_enabled),
        "torch.threads": State(torch.get_num_threads, torch.set_num_threads),
        "torch.precision": State(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        "torch.deterministic": State(
            deterministic, lambda pair: torch.use_deterministic_algorithms(pair[0], warn_only=pair[1])
        ),
        "torch.anomaly": State(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        "torch.random": State(torch.get_rng_state, torch.set_rng_state, comparable=False),
        "torch.cudnn": State(
            lambda: (cudnn.enabled, cudnn.benchmark, cudnn.deterministic),
            lambda three: cudnn.set_flags(*three[:1], _benchmark=three[1], _deterministic=three[2]),
        ),
    }
    if torch.cuda.is_initialized():
        found["cuda.random"] = State(torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all, comparable=False)
    return found


def _known() -> dict[str, State]:
    """What there is to keep, in the order to put it back: of numpy and torch only if they are loaded."""
    modules = sys.modules
    return {
        **PYTHON,
        **(_numpy(modules["numpy"]) if "numpy" in modules else {}),
        **(_torch(modules["torch"]) if "torch" in modules else {}),
    }


class Surroundings:
    """Those of the user's functions, which share them as the functions of one program do."""

    def __init__(self) -> None:
        self._theirs: dict[str, Any] = {}  # only what they have changed: all else they find as training has it

    @contextmanager
    def apart(self) -> Iterator[None]:
        """A block that finds what the blocks before have changed, and leaves nothing to what comes after it."""
        ours, handlers = _read(), _handlers()
        if "path" in self._theirs:  # with what others have added since
            self._theirs["path"] += [folder for folder in ours["path"] if folder not in self._theirs["path"]]
        _put(self._theirs)
        before = _read()
        try:
            yield
        finally:
            for name, state in _known().items():
                if state.theirs and not (state.comparable and name in before and state.get() == before[name]):
                    self._theirs[name] = state.get()
            _put(ours)
            _put_handlers(handlers)


def _read() -> dict[str, Any]:
    return {name: state.get() for name, state in _known().items()}


def _put(wanted: dict[str, Any]) -> None:
    for name, state in _known().items():
        if name in wanted and not (state.comparable and state.get() == wanted[name]):
            state.put(wanted[name])


def _handlers() -> dict[int, Any]:
    """The handlers of signals; in the main thread, for no other can put them back."""
    main = threading.current_thread() is threading.main_thread()
    return {number: signal.getsignal(number) for number in SIGNALS} if main else {}


def _put_handlers(wanted: dict[int, Any]) -> None:
    """Put back handlers that were changed, which the function does not find again: signals that end a run stay ours."""
    for number, handler in wanted.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    if wanted and signal.getitimer(signal.ITIMER_REAL)[0]:
        signal.setitimer(signal.ITIMER_REAL, 0)  # an alarm that nobody would handle ends the process
