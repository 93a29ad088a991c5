"""The page served on this machine until what is wanted is judged, or until Ctrl-C."""

import asyncio
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from rlnlp.errors import Exit, Failure, Stopped
from rlnlp.feedback.store import Store
from rlnlp.feedback.web.app import Page
from rlnlp.feedback.web.guard import SLOWEST, sha256_of

HOST = "127.0.0.1"
CONNECTIONS = 128  # at once; a browser makes up to 6
HEADERS = 16 * 1024  # bytes of a request's headers
CHECKED = 0.2  # seconds between looks at whether that is enough


class PatientProtocol(H11Protocol):
    """HTTP of which the headers of a request must arrive in time."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once the headers are whole."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._deadline is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(SLOWEST, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class WebAnnotators:
    """People who judge in their browsers, each by a link of their own, which stays the same from round to round."""

    def __init__(self, names: Sequence[str], port: int, instructions: str, say: Callable[[str], None]) -> None:
        self.names, self.port, self.instructions, self._say = names, port, instructions, say
        self.draws = False
        self._tokens = {name: secrets.token_urlsafe(16) for name in names}  # 128 bits
        self._told: int | None = None  # the port of the links that were printed

    def collect(self, store: Store, enough: Callable[[], bool]) -> None:
        """Serve the page until ``enough()``; print a link for each name, unless it has been printed.

        Raises:
            Failure: exit 2, for what is no name; exit 5, if no port can be opened.
        """
        people = [store.annotator(name) for name in self.names]
        with listen(self._told or self.port) as listener:
            port = listener.getsockname()[1]
            for person in people:
                token = self._tokens[person.name]
                store.link(person, sha256_of(token))
                if port != self._told:
                    self._say(f"{person.name}: http://{HOST}:{port}/?token={token}")
            self._told = port
            self._serve(store, listener, enough)

    def _serve(self, store: Store, listener: socket.socket, enough: Callable[[], bool]) -> None:
        port = listener.getsockname()[1]
        server = uvicorn.Server(configuration(Page(store, port, self.instructions).app()))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while thread.is_alive() and not enough():
                time.sleep(CHECKED)
        except KeyboardInterrupt as stopped:
            if isinstance(stopped, Stopped):
                raise
        finally:
            server.should_exit = True
            thread.join()


def configuration(app: Any) -> uvicorn.Config:
    """A server that says nothing, tells nothing of itself, and waits for nobody."""
    return uvicorn.Config(
        app, http=PatientProtocol, ws="none", lifespan="off", loop="asyncio", log_config=None, log_level="critical",
        access_log=False, proxy_headers=False, server_header=False, limit_concurrency=CONNECTIONS,
        timeout_keep_alive=int(SLOWEST), timeout_graceful_shutdown=1, h11_max_incomplete_event_size=HEADERS,
    )  # fmt: skip


def listen(port: int) -> socket.socket:
    """A socket on this machine alone, at ``port`` or, if that is taken, at a free one.

    Raises:
        Failure: exit 5, if there is none.
    """
    for each in (port, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, each))
        except OSError as error:
            listener.close()
            reason = error.strerror
        else:
            listener.listen(CONNECTIONS)
            return listener
    raise Failure(Exit.STORAGE, f"no port of {HOST} can be opened ({reason})")
