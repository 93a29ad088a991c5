"""The disk as it fails: at the n-th call that makes something last the process dies, or the call fails."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

CALLS = ("open", "write", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "ftruncate")
KILL, ENOSPC, EIO, SHORT = "kill", "ENOSPC", "EIO", "short write"
SIGKILL_STATUS = 137


@dataclass(frozen=True)
class Fault:
    """``kind`` at call ``number`` (from 0) below the run directory; the calls are noted in ``log``."""

    kind: str
    number: int
    log: str

    def __call__(self, directory: Path) -> None:
        """Arm it in this process."""
        Armed(self, directory)


def where(first: Any) -> str:
    """The path that a call is about."""
    return os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else os.fspath(first)


class Armed:
    """The calls of ``os`` that last, and safetensors' writing, counted and made to fail."""

    def __init__(self, fault: Fault, directory: Path) -> None:
        self.fault, self.directory, self.seen = fault, str(directory), 0
        for name in CALLS:
            setattr(os, name, self.counted(name, getattr(os, name)))
        from rlnlp.run import checkpoint

        checkpoint.save_file = self.counted_save(checkpoint.save_file)

    def counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """``real``, counted where it is about the run directory."""

        def call(first: Any, *rest: Any, **more: Any) -> Any:
            if not self.ours(name, first, rest, more):
                return real(first, *rest, **more)
            kind = self.due(f"{name} {where(first)}")
            if kind in (ENOSPC, EIO):
                raise OSError(getattr(errno, kind), os.strerror(getattr(errno, kind)))
            if kind == SHORT and name == "write":
                return real(first, bytes(rest[0])[: len(rest[0]) // 2])
            result = real(first, *rest, **more)
            if kind == "kill after":
                os._exit(SIGKILL_STATUS)
            return result

        return call

    def counted_save(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """safetensors writes from Rust: it fails with a part of the file written, in an error of its own."""

        def call(tensors: Any, path: Path, *rest: Any) -> None:
            kind = self.due(f"save_file {path}")
            real(tensors, path, *rest)
            if kind is not None:
                os.truncate(path, path.stat().st_size // 2)
            if kind == "kill after":
                os._exit(SIGKILL_STATUS)
            if kind is not None:
                raise SafetensorError(f"I/O error: No space left on device (os error {errno.ENOSPC})")

        return call

    def due(self, what: str) -> str | None:
        """Count a call; what is to happen to it. A kill comes before the odd calls and after the even ones."""
        number, self.seen = self.seen, self.seen + 1
        if self.fault.number < 0:
            with open(self.fault.log, "a") as log:
                log.write(what + "\n")
        if number != self.fault.number:
            return None
        if self.fault.kind == KILL and number % 2:
            os._exit(SIGKILL_STATUS)
        return "kill after" if self.fault.kind == KILL else self.fault.kind

    def ours(self, name: str, first: Any, rest: tuple[Any, ...], more: dict[str, Any]) -> bool:
        """True for a call about the run directory; opening to read makes nothing last."""
        if "dir_fd" in more and more["dir_fd"] is not None:
            path = os.readlink(f"/proc/self/fd/{more['dir_fd']}")
        else:
            path = os.path.abspath(where(first))
        if name == "open" and not (rest and rest[0] & (os.O_WRONLY | os.O_RDWR)):
            return False
        return path.startswith(self.directory)
