"""The page of a feedback set in a process of its own, which is killed and started again while someone judges."""

import http.client
import itertools
import os
import random
import signal
import socket
import threading
import time
from pathlib import Path

from rlnlp.feedback.store import Store
from rlnlp.feedback.web.guard import sha256_of
from rlnlp.feedback.web.server import WebAnnotators
from support.collectors import CONTEXT
from support.page import Served

TOKEN = "a-token-for-the-tests-only"


def serve(path: Path, port: int) -> None:
    """What the process does, for ever."""
    store = Store(path, create=False, repeated=0)
    store.link(store.annotator("ann"), sha256_of(TOKEN))
    WebAnnotators([], port, "", print).collect(store, lambda: False)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def judge_through_kills(path: Path, kills: int, seed: int) -> tuple[list[str], int]:
    """Answer all items while the server is killed ``kills`` times: the requests that were confirmed, and the kills.

    As the page does, a request without an answer is sent again under the same name.
    """
    page = Served(free_port(), {"ann": f"http://127.0.0.1/?token={TOKEN}"})
    chance, confirmed, done = random.Random(seed), [], threading.Event()

    def ask(where, body):
        while True:
            try:
                status, _, value = page.ask("ann", where, body)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
                continue
            if status in (200, 409):
                return status, value

    def judge():
        try:
            value = ask("/question", {})[1]
            for number in itertools.count():
                if value["question"] is None:
                    return
                status, value = ask("/judge", page.answer_of(value["question"], "left", f"request-{number}"))
                if status == 200:
                    confirmed.append(f"request-{number}")
        finally:
            done.set()

    thread, killed = threading.Thread(target=judge), 0
    thread.start()
    while not done.is_set():
        process = CONTEXT.Process(target=serve, args=(path, page.port))
        process.start()
        done.wait(chance.uniform(0.02, 0.25) if killed < kills else None)
        os.kill(process.pid, signal.SIGKILL)
        killed += 1
        process.join()
    thread.join()
    return confirmed, killed
