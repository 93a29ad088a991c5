"""The page of a feedback set, served in a thread; requests as no browser makes them."""

import http.client
import json
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from rlnlp.feedback.store import Store
from rlnlp.feedback.web.guard import proof_of
from rlnlp.feedback.web.server import WebAnnotators


@dataclass
class Served:
    """Where the page is, and the links by name."""

    port: int
    links: dict[str, str]
    last: str = ""  # the body of the last answer

    def token(self, name: str) -> str:
        return urlsplit(self.links[name]).query.removeprefix("token=")

    def request(self, method: str, path: str, body: bytes | str = b"", **headers: str):
        """One request with these headers and no others but Host: status, headers, JSON or text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with closing(connection):  # whatever becomes of it: the server may be killed meanwhile
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            sent = {
                "Host": f"127.0.0.1:{self.port}", **{name.replace("_", "-"): value for name, value in headers.items()}
            }  # fmt: skip
            body = body.encode() if isinstance(body, str) else body
            if body:
                sent.setdefault("Content-Length", str(len(body)))
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders()
            if body:
                connection.send(body)
            answer = connection.getresponse()
            self.last = text = answer.read().decode()
        try:
            return answer.status, dict(answer.getheaders()), json.loads(text)
        except ValueError:
            return answer.status, dict(answer.getheaders()), text

    def page_headers(self, name: str) -> dict[str, str]:
        """What the page of an annotator sends."""
        token = self.token(name)
        return {
            "Cookie": f"rlnlp_feedback_{self.port}={token}", "X-Rlnlp-Page": proof_of(token),
            "Content-Type": "application/json", "Sec-Fetch-Site": "same-origin",
            "Origin": f"http://127.0.0.1:{self.port}",
        }  # fmt: skip

    def ask(self, name: str, path: str, body):
        """What the page of an annotator asks."""
        return self.request("POST", path, json.dumps(body), **self.page_headers(name))

    def answer_of(self, question, said, request: str, **more):
        """The body of an answer."""
        return {"item": question["item"], "revision": question["revision"], "order": question["order"],
                "answer": said, "seconds": 1.5, "confidence": None, "request": request, **more}  # fmt: skip


@contextmanager
def served(store: Store, *names: str, port: int = 0, instructions: str = ""):
    """The page served for these names."""
    lines, stop, ready = [], threading.Event(), threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if len(lines) == len(names):
            ready.set()

    annotators = WebAnnotators(names, port, instructions, say)
    thread = threading.Thread(target=annotators.collect, args=(store, stop.is_set))
    thread.start()
    try:
        assert ready.wait(30)
        links = {name: line.partition(": ")[2] for name, line in zip(names, lines, strict=True)}
        yield Served(urlsplit(next(iter(links.values()))).port, links)
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
