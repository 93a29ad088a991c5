"""Connections between the first process and the others: each end knows at once when the other is gone.

A kernel closes the connections of a process that ends, however it ends. So nothing is asked in intervals, and no clock
decides that a process is dead. What is sent is JSON, a line each.
"""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rlnlp.errors import Exit, Failure, Lost, exit_code

LONGEST = 2**16  # bytes of a line
KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 2}  # seconds; how often: for a machine that is gone
OWN_WORD = 0.5  # seconds in which the first process may end by the same error, whose message is then its own
RELAYED = 1.0  # seconds after which a signal that another process got is taken for one that the first did not get
GRACE = 5.0  # seconds that the first process has to end by itself, once it has been told to
LINGER = 3.0  # seconds that the others wait for its exit, once it has said that it ends
LAST = 2.0  # seconds after which another process ends that has reported an error: who waits for it then wakes up
WOKEN = 3.0  # seconds that another process waits for the first to end, after a collective has failed
_open: list[socket.socket] = []


def _in_child() -> None:
    """A process that is forked is not the run: it must not keep connections open when the run is gone."""
    for connection in _open:
        connection.close()


os.register_at_fork(after_in_child=_in_child)


def keep(connection: socket.socket) -> socket.socket:
    """``connection``, closed in processes that are forked from this one; the loss of a whole machine is noticed too."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if connection.family != socket.AF_UNIX and name in vars(socket):
            connection.setsockopt(socket.IPPROTO_TCP, vars(socket)[name], value)
    _open.append(connection)
    return connection


def send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    """Send a message; nothing happens if the other end is gone, which its reader notices."""
    try:
        connection.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        return


def received(connection: socket.socket) -> Iterator[dict[str, Any]]:
    """The messages that come, until the other end is gone."""
    rest = b""
    while len(rest) <= LONGEST:
        try:
            data = connection.recv(4096)
        except OSError:
            return
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                return
            if isinstance(message, dict):
                yield message


class Leader:
    """The end of the first process, with a connection to each of the others by its rank.

    What ends the run because of another process is kept until it is raised: ``take`` gives it once.
    """

    def __init__(self, connections: Mapping[int, socket.socket]) -> None:
        self._connections, self._count = dict(connections), len(connections) + 1
        self._fault: BaseException | None = None
        self._lock = threading.Lock()
        self._ended = self._faulted = False
        self._finished: set[int] = set()
        self._interrupt: Callable[[], None] | None = None
        self._relay: Callable[[int], None] = lambda number: None
        self._abandon: Callable[[BaseException], None] = lambda error: None
        for rank in self._connections:
            threading.Thread(target=self._read, args=(rank,), daemon=True).start()

    def attach(
        self, interrupt: Callable[[], None], relay: Callable[[int], None], abandon: Callable[[BaseException], None]
    ) -> None:
        """From now on ``interrupt`` is called from another thread where there is something to ``take``.

        ``relay`` is called with a signal that another process got; ``abandon`` ends the process if nothing else has.
        """
        self._relay, self._abandon = relay, abandon
        self._interrupt = interrupt
        if self._fault is not None:
            interrupt()

    def take(self) -> BaseException | None:
        """What ends the run; None if nothing does, or if it was taken before."""
        with self._lock:
            fault, self._fault = self._fault, None
        return fault

    def end(self, code: int) -> None:
        """Tell the others that the run has ended, for good with code 0."""
        self._ended = True
        for connection in self._connections.values():
            send(connection, {"end": code})

    def _read(self, rank: int) -> None:
        for message in received(self._connections[rank]):
            if "signal" in message:
                threading.Thread(target=self._relayed, args=(int(message["signal"]),), daemon=True).start()
            elif "done" in message:
                self._finished.add(rank)
            elif "code" in message:
                time.sleep(OWN_WORD)
                self._end_by(Failure(_exit(message["code"]), f"process {rank} of {self._count}: {message['text']}"))
        if rank not in self._finished:
            self._end_by(Lost(f"process {rank} of {self._count} is gone (killed, or out of memory)"))

    def _relayed(self, number: int) -> None:
        time.sleep(RELAYED)
        self._relay(number)

    def _end_by(self, fault: BaseException) -> None:
        with self._lock:
            if self._ended or self._faulted:
                return
            self._fault, self._faulted = fault, True
        if self._interrupt is None:
            return
        self._interrupt()
        time.sleep(GRACE)
        if not self._ended and (left := self.take()) is not None:
            self.end(int(exit_code(left)))
            self._abandon(left)


class Follower:
    """The end of any other process, which ends as soon as the first one does.

    It has nothing to lose: only the first process writes. ``advice`` is what the user can do when that one is gone.
    """

    def __init__(self, connection: socket.socket, rank: int, count: int, program: str) -> None:
        self._connection, self._rank, self._count, self._program = connection, rank, count, program
        self._done = False
        self.advice: Callable[[], str] = lambda: "nothing is saved yet"
        threading.Thread(target=self._read, daemon=True).start()

    def signaled(self, number: int) -> None:
        """Tell the first process of a signal: it decides when to stop."""
        send(self._connection, {"signal": number})

    def failed(self, code: int, text: str) -> None:
        """Report an error, and give the first process time to hear of it."""
        send(self._connection, {"code": int(code), "text": text[: LONGEST // 8]})
        time.sleep(LAST)

    def wait(self) -> None:
        """Wait for the end that is to come, if another process's end is why something has failed here."""
        time.sleep(WOKEN)

    def done(self) -> None:
        """The work is done: that the first process ends is as it should be."""
        self._done = True
        send(self._connection, {"done": True})

    def _read(self) -> None:
        code: int | None = None
        for message in received(self._connection):
            if "end" in message:
                code = int(message["end"])  # the process itself ends soon: its own exit comes first, for who started it
                threading.Timer(LINGER, self._leave, (code,)).start()
        if code is None and not self._done and self._rank == 1:  # one of them tells
            text = f"process 0 of {self._count} is gone (killed, or out of memory); {self.advice()}"
            print(f"{self._program}: " + text.replace("\n", "\n  "), file=sys.stderr, flush=True)
        self._leave(Exit.TERMINATED if code is None else code)

    def _leave(self, code: int) -> None:
        if not self._done:
            os._exit(code)


def _exit(code: Any) -> Exit:
    return Exit(code) if code in set(Exit) else Exit.BUG
