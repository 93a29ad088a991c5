"""Several processes as one run: they meet, agree on a directory, and end together with one message."""

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from rlnlp.errors import Exit, Failure, exit_code, one_line
from rlnlp.processes.launch import Place, place
from rlnlp.processes.lifeline import Follower, Leader, keep

MEETING = timedelta(minutes=5)  # in which all of them must have come
TOGETHER = timedelta(days=7)  # of a collective: who is gone is known by the lifeline, and rewards may take their time
WORDS = 2**12  # bytes of what a process says when it connects


_ends: list[Leader | Follower] = []  # this process's end of the lifeline, while it is in a group


def leader() -> Leader | None:
    """The first process's end of the connections to the others; None in the others and in a process alone."""
    return next((end for end in _ends if isinstance(end, Leader)), None)


def follower() -> Follower | None:
    """The end of a process that is not the first; None in any other."""
    return next((end for end in _ends if isinstance(end, Follower)), None)


@contextmanager
def joined(directory: Path, several: bool, cuda: bool, program: str) -> Iterator[Path]:
    """A block in which the processes of the run are a group of torch.distributed, if there are ``several``.

    It is given the run directory: the first process's, whose ``directory`` this is there. Where the first process ends
    by an error, so do the others, silently and with its exit code; an error of another is raised in the first.

    Raises:
        Failure: exit 2, if the processes do not find each other.
        SystemExit: in every process but the first, in place of an error.
    """
    where = place()
    if not several or where.processes == 1:
        yield directory
        return
    end, agreed = _meet(where, directory, cuda, program)
    _ends.append(end)
    try:
        with _ending_together(end):
            yield agreed
    finally:
        _ends.clear()
    dist.destroy_process_group()  # not after an error: it may wait for a process that is gone


@contextmanager
def _ending_together(end: Leader | Follower) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        code = error.code if isinstance(error, SystemExit) else exit_code(error)
        number = code if isinstance(code, int) else int(Exit.BUG)
        if isinstance(end, Leader):
            end.end(number)
            raise
        end.failed(number, f"{error}" if isinstance(error, Failure) else f"{type(error).__name__}: {error}")
        raise SystemExit(number) from error
    if isinstance(end, Leader):
        end.end(int(Exit.DONE))
    else:
        end.done()


def _meet(where: Place, directory: Path, cuda: bool, program: str) -> tuple[Leader | Follower, Path]:
    """Come together; return this end of the lifeline, and the directory of the run.

    Raises:
        Failure: exit 2, if that fails.
    """
    if cuda:
        torch.cuda.set_device(where.local)
    try:
        store, _, _ = next(rendezvous("env://", timeout=MEETING))
        store.set_timeout(MEETING)
        dist.init_process_group(
            "nccl" if cuda else "gloo", store=PrefixStore("torch", store), rank=where.rank,
            world_size=where.processes, timeout=TOGETHER,
        )  # fmt: skip
        own = PrefixStore("rlnlp", store)
        return _lead(own, where, directory) if where.rank == 0 else _follow(own, where, program)
    except (RuntimeError, ValueError, OSError) as error:
        what = f"the {where.processes} processes did not find each other: {one_line(str(error), 160)}"
        raise Failure(Exit.CONFIG, f"{what}\nstart all of them, with torchrun") from error


def _lead(store: Store, where: Place, directory: Path) -> tuple[Leader, Path]:
    """Tell the others the directory, and wait for their connections."""
    word = secrets.token_hex(16)
    with _listening(os.environ.get("MASTER_ADDR", "")) as (server, port):
        store.set("run", json.dumps({"directory": str(directory.absolute()), "port": port, "word": word}))
        connections: dict[int, socket.socket] = {}
        until = time.monotonic() + MEETING.total_seconds()
        while len(connections) < where.processes - 1:
            server.settimeout(max(0.1, until - time.monotonic()))
            connection, _ = server.accept()
            rank = _greeting(connection, word)
            if rank is None:
                connection.close()  # of someone else
            else:
                connections[rank] = keep(connection)
    return Leader(connections), directory


@contextmanager
def _listening(address: str) -> Iterator[tuple[socket.socket, int]]:
    """A server on the address that the others know, or on all of this machine if it is none of its own."""
    try:
        server = socket.create_server((socket.gethostbyname(address), 0))
    except OSError:
        server = socket.create_server(("", 0))
    with server:
        yield server, server.getsockname()[1]


def _greeting(connection: socket.socket, word: str) -> int | None:
    """The rank of a process that knows the ``word``; None of anybody else."""
    connection.settimeout(10)
    try:
        said = json.loads(connection.makefile("rb").readline(WORDS))
        known = isinstance(said, dict) and secrets.compare_digest(str(said.get("word")), word)
        return int(said["rank"]) if known else None
    except (OSError, ValueError, KeyError):
        return None


def _follow(store: Store, where: Place, program: str) -> tuple[Follower, Path]:
    """Learn the directory, and connect to the first process."""
    told: dict[str, Any] = json.loads(store.get("run"))
    address = os.environ.get("MASTER_ADDR", "")
    connection = keep(socket.create_connection((address, told["port"]), timeout=MEETING.total_seconds()))
    connection.sendall(json.dumps({"rank": where.rank, "word": told["word"]}).encode() + b"\n")
    return Follower(connection, where.rank, where.processes, program), Path(told["directory"])


def explained(error: RuntimeError) -> BaseException:
    """What to raise for an ``error`` of a collective: that another process is gone, if that is so."""
    if (end := follower()) is not None:
        end.wait()
    for _ in range(50 if leader() is not None else 0):
        if (lead := leader()) is not None and (fault := lead.take()) is not None:
            return fault
        time.sleep(0.1)
    return error
